/* The page: binds the buttons to what they demonstrate. */

import { contract } from "./contract.js";
import { frameworks } from "./frameworks.js";
import { middleware } from "./middleware.js";
import { say } from "./show.js";
import { websocket } from "./websocket.js";

const demonstrations = { ...contract, ...websocket, ...frameworks, ...middleware };

/* Where those show what went wrong that have no place of their name. */
const places = { crowd: "crowd-note", stream: "stream-note", wait: "letters", join: "chat", compression: "live" };

/* Each button runs the demonstration that it names, and is disabled as long as that lasts. */
async function run(button) {
  const name = button.dataset.run;
  const siblings = document.querySelectorAll(`[data-run="${name}"]`);
  siblings.forEach((sibling) => { sibling.disabled = true; });
  try {
    await demonstrations[name](button);
  } catch (error) {
    say(places[name] ?? name, `that went wrong: ${error.message}`, "bad");
  } finally {
    siblings.forEach((sibling) => { sibling.disabled = false; });
  }
}

for (const button of document.querySelectorAll("[data-run]")) {
  button.addEventListener("click", async () => {
    await run(button);
    await middleware.log().catch(() => {});
    button.dispatchEvent(new Event("done"));
  });
}

for (const place of document.querySelectorAll("[data-origin]")) place.textContent = location.origin;
for (const place of document.querySelectorAll("[data-host]")) {
  place.textContent = `${location.hostname} ${location.port || 80}`;
}

const uptime = document.getElementById("uptime");
setInterval(() => {
  const seconds = Math.max(0, Math.round(Date.now() / 1000 - Number(uptime.dataset.started)));
  const [hours, minutes] = [Math.floor(seconds / 3600), Math.floor(seconds / 60) % 60];
  uptime.textContent = hours ? `${hours} h ${minutes} min` : minutes ? `${minutes} min ${seconds % 60} s` : `${seconds} s`;
}, 1000);

document.querySelector('[data-run="hello"]').click();
document.querySelector('[data-run="request"]').click();

if (new URLSearchParams(location.search).has("self-test")) {
  document.head.append(Object.assign(document.createElement("script"), { type: "module", src: "/self-test.js" }));
}
