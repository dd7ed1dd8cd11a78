/* The applications of the frameworks, mounted below this one. */

import { answered, exchange, say } from "./show.js";

const twoFiles = () => {
  const form = new FormData();
  form.append("files", new Blob(["A varvel is a ring.\n"]), "varvel.txt");
  form.append("files", new Blob([new Uint8Array(100000)]), "zeros");
  return form;
};

/* The version of the bird that was seen last. */
let seen = '"none"';

export const frameworks = {
  async resource({ dataset: { step } }) {
    const bird = "/resource/birds/merlin";
    const bells = { species: "Falco columbarius", bells: 1 + Math.floor(Math.random() * 9) };
    const json = { "Content-Type": "application/json" };
    const [target, options] = {
      get: [bird, {}],
      again: [bird, { headers: { "If-None-Match": seen } }],
      part: [bird, { headers: { Range: "bytes=0-15" } }],
      put: [bird, { method: "PUT", headers: json, body: JSON.stringify(bells) }],
      stale: [bird, { method: "PUT", headers: { ...json, "If-Match": '"older"' }, body: JSON.stringify(bells) }],
      delete: [bird, { method: "DELETE" }],
      patch: [bird, { method: "PATCH" }],
      xml: ["/resource/birds/dodo", { headers: { Accept: "application/xml" } }],
    }[step];
    const fields = ["etag", "content-range", "allow", "content-type"];
    const { response } = await exchange("resource", target, { ...options, fields });
    seen = response.headers.get("etag") ?? seen;
  },

  async micro({ dataset: { step } }) {
    if (step === "sign") {
      const name = document.querySelector('[name="guest"]').value;
      const body = new URLSearchParams({ name, words: "signed by a script" });
      const response = await answered(fetch("/micro/sign", { method: "POST", body }));
      const page = new DOMParser().parseFromString(await response.text(), "text/html");
      const { pathname } = new URL(response.url);
      return say("micro", `POST /micro/sign, and on to ${pathname}:\n${page.querySelector(".flash").textContent}`);
    }
    const [target, options] = {
      hello: ["/micro/hello/" + encodeURIComponent(document.querySelector('[name="guest"]').value), {}],
      later: ["/micro/later/500", {}],
      files: ["/micro/files", { method: "POST", body: twoFiles() }],
    }[step];
    return exchange("micro", target, options);
  },
};
