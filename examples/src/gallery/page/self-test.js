/* `/?self-test`: presses the buttons of the page, one after the other, and says whether each showed what it should.
   The outcome is on the page, and in `data-self-test` of its root: `passed` or `failed`. */

import { out } from "./show.js";

/* Which button, and what it shows where. */
const expectations = [
  ['[data-run="hello"]', "hello", /^Hello from varvel-\w+, worker/],
  ['[data-run="stream"]', "stream-note", /^24 pieces in (?!1 )/],
  ['[data-run="crowd"][data-count="50"]', "crowd-note", /^50 answers of one second each(?!.*failed)/],
  ['[data-run="request"][data-method="PUT"]', "request", /methodPUT.*26 bytes.*x-saidHello/],
  ['[data-run="echo"]', "echo", /“Is anybody there\?” came back\n64\.0 KiB of noise came back, .*\nclosed with 1000, as/],
  ['[data-run="join"]', "chat", /somebody came, \d+ here/],

  ['[data-run="resource"][data-step="get"]', "resource", /^GET .*\n200 .*\netag: "\w+"/],
  ['[data-run="resource"][data-step="again"]', "resource", /\n304 /],
  ['[data-run="resource"][data-step="part"]', "resource", /\n206 .*\n.*\ncontent-range: bytes 0-15\/\d+\n[^]*\n\{"species":"Falc$/],
  ['[data-run="resource"][data-step="stale"]', "resource", /\n412 [^]*That is not the bird/],
  ['[data-run="resource"][data-step="delete"]', "resource", /\n204 /],
  ['[data-run="resource"][data-step="get"]', "resource", /\n404 [^]*application\/problem\+json/],
  ['[data-run="resource"][data-step="put"]', "resource", /\n201 [^]*"bells":\d/],
  ['[data-run="resource"][data-step="patch"]', "resource", /\n405 .*\nallow: GET, HEAD, PUT, DELETE, OPTIONS/],
  ['[data-run="resource"][data-step="xml"]', "resource", /\n404 [^]*application\/problem\+xml[^]*<problem/],
  ['[data-run="micro"][data-step="sign"]', "micro", /on to \/micro\/:\nThank you, Ada\.$/],
  ['[data-run="micro"][data-step="hello"]', "micro", /Hello, Ada,/],
  ['[data-run="micro"][data-step="later"]', "micro", /500 ms later/],
  ['[data-run="micro"][data-step="files"]', "micro", /"varvel\.txt","bytes":20.*"zeros","bytes":100000/],

  ['[data-run="cors"][data-method="PUT"]', "cors", /\n200 .*\nPUT from a page of http:\/\//],
  ['[data-run="cors"][data-method="DELETE"]', "cors", /not allowed, says your browser/],
  ['[data-run="csrf"][data-from="here"]', "csrf", /\n200 /],
  ['[data-run="csrf"][data-from="elsewhere"]', "csrf", /\n403 /],
  ['[data-run="session"][data-method="DELETE"]', "session", /\n200 /],
  ['[data-run="session"][data-method="GET"]', "session", /Visit 1$/],
  ['[data-run="session"][data-method="GET"]', "session", /Visit 2$/],
  ['[data-run="compression"]', "compression", /^identity[^]*100 %gzip[^]* \d\d %/],
  ['[data-run="live"]', "live", /^12 lines in (?!1 ).* reads, compressed with gzip/],
  ['[data-run="timeout"]', "timeout", /\n503 [^]*after \d+ ms/],
  ['[data-run="limit"][data-bytes="1000"]', "limit", /\n1000 bytes$/],
  ['[data-run="limit"][data-bytes="5000"]', "limit", /\n413 /],
  ['[data-run="rate"]', "rate", /^200 [^]*\n429 .* retry-after: \d+$/],
  ['[data-run="forwarded"][data-chain="203.0.113.7"]', "forwarded", /"client":"203\.0\.113\.7"/],
  ['[data-run="forwarded"][data-chain^="127"]', "forwarded", /"client":"203\.0\.113\.7"/],
  ['[data-run="slash"]', "slash", /led to \/middleware\/trailing-slash\/here\?a=b$/],
  ['[data-run="failure"][data-kind="error"]', "failure", /\n500 [^]*and then: Hello/],
  ['[data-run="failure"][data-kind="panic"]', "failure", /\n500 [^]*x-request-id: \w{32}[^]*and then: Hello/],
  ['[data-run="security"]', "security", /content-security-policy: default-src 'none'/],
  ['[data-run="log"]', "log", /status=500[^]*target="\/hello"/],
];

const done = (button) => new Promise((resolve) => button.addEventListener("done", resolve, { once: true }));

async function run() {
  const failures = [];
  for (const [selector, place, pattern] of expectations) {
    report.textContent = `Self-test: ${selector}`;
    const button = document.querySelector(selector);
    /* One that is disabled is at work since the page was opened. */
    if (!button.disabled) button.click();
    await done(button);
    const shown = out(place).textContent;
    if (!pattern.test(shown)) failures.push(`${selector} showed ${JSON.stringify(shown)}, not ${pattern}`);
  }
  return failures;
}

const report = Object.assign(document.createElement("pre"), { id: "self-test" });
document.querySelector("main").before(report);

/* An image that is only answered when a letter is posted: until then the page counts as loading, so that whoever waits
   for it to be loaded, as `chromium --dump-dom` does, waits for the outcome. Letters have a patience of their own, so it
   is asked for again. */
const pending = `/letters/self-test-${Math.random().toString(36).slice(2)}`;
const image = Object.assign(new Image(), { src: pending, alt: "", hidden: true });
image.addEventListener("error", () => {
  if (!("selfTest" in document.documentElement.dataset)) image.src = pending;
});
report.after(image);

const failures = await run().catch((error) => [`the self-test itself: ${error.message}`]);
const passed = expectations.length - failures.length;
report.textContent = [`Self-test: ${passed} of ${expectations.length} passed`, ...failures].join("\n");
report.className = failures.length ? "bad" : "good";
document.documentElement.dataset.selfTest = failures.length ? "failed" : "passed";
await fetch(pending, { method: "POST", body: "done" });
