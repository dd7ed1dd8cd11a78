/* What stands around applications. */

import { answered, exchange, line, millis, out, say, size } from "./show.js";

/* The same server by its other name, which is another origin. */
const elsewhere = () => {
  const other = { "127.0.0.1": "localhost", localhost: "127.0.0.1" }[location.hostname];
  if (!other) throw new Error("for this, open the page at 127.0.0.1 or localhost");
  return location.origin.replace(location.hostname, other);
};

/* What the browser has measured of a request: how long the body was on the wire. */
const timing = (url) => new Promise((resolve) => {
  new PerformanceObserver((list, observer) => {
    const entry = list.getEntriesByName(url).at(-1);
    if (!entry) return;
    observer.disconnect();
    resolve(entry);
  }).observe({ type: "resource", buffered: true });
});

const bar = (label, share, text) => {
  const row = document.createElement("div");
  const name = Object.assign(document.createElement("span"), { textContent: label });
  const length = document.createElement("i");
  length.style.width = `${(100 * share).toFixed(1)}%`;
  const value = Object.assign(document.createElement("span"), { textContent: text });
  row.append(name, length, value);
  return row;
};

export const middleware = {
  async cors({ dataset: { method } }) {
    const target = `${elsewhere()}/middleware/cors`;
    try {
      await exchange("cors", target, { method, headers: { "Content-Type": "application/json" }, body: "{}" });
    } catch (error) {
      say("cors", `${line(method, target)}\nnot allowed, says your browser: ${error.message}`);
    }
  },

  async csrf({ dataset: { from } }) {
    const origin = from === "here" ? "" : elsewhere();
    await exchange("csrf", `${origin}/middleware/csrf`, { method: "POST" });
  },

  async compression() {
    const sizes = [];
    for (const coding of ["identity", "gzip", "br", "zstd"]) {
      const target = `/middleware/compression/text?coding=${coding}&at=${performance.now()}`;
      const response = await answered(fetch(target, { cache: "no-store" }));
      await response.text();
      const used = response.headers.get("content-encoding") ?? "identity";
      sizes.push([coding, used === coding, (await timing(response.url)).encodedBodySize]);
    }
    const whole = sizes[0][2];
    out("compression").replaceChildren(...sizes.map(([coding, isUsed, bytes]) => isUsed
      ? bar(coding, bytes / whole, `${size(bytes)}, ${Math.round((100 * bytes) / whole)} %`)
      : bar(coding, 0, "not what your browser accepts here")));
  },

  async live() {
    const start = performance.now();
    const response = await answered(fetch("/middleware/compression/stream?coding=gzip&n=12"));
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    let [lines, reads] = [0, 0];
    for (;;) {
      const { done, value } = await reader.read();
      if (done) break;
      reads += 1;
      lines += value.split("\n").length - 1;
      const coding = response.headers.get("content-encoding") ?? "nothing";
      say("live", `${lines} lines in ${reads} reads, compressed with ${coding}, ${millis(start)} ms`);
    }
  },

  async session({ dataset: { method } }) {
    await exchange("session", "/middleware/session", { method });
  },

  async timeout() {
    const start = performance.now();
    await exchange("timeout", "/middleware/timeout");
    say("timeout", `${out("timeout").textContent}\nafter ${millis(start)} ms`);
  },

  async limit({ dataset: { bytes } }) {
    await exchange("limit", "/middleware/body-limit", { method: "POST", body: "x".repeat(Number(bytes)) });
  },

  async rate() {
    const lines = [];
    for (let asked = 0; asked < 8; asked += 1) {
      const { status, headers } = await fetch("/middleware/rate-limit");
      const wait = headers.get("retry-after");
      lines.push(`${status} ${headers.get("ratelimit")}${wait ? ` retry-after: ${wait}` : ""}`);
      say("rate", lines.join("\n"));
    }
  },

  async forwarded({ dataset: { chain } }) {
    await exchange("forwarded", "/middleware/forwarded", {
      headers: { "X-Forwarded-For": chain, "X-Forwarded-Proto": "https" },
    });
  },

  async slash() {
    const response = await answered(fetch("/middleware/trailing-slash/here/?a=b"));
    const { pathname, search } = new URL(response.url);
    say("slash", `GET /middleware/trailing-slash/here/?a=b\nled to ${pathname}${search}`);
  },

  async failure({ dataset: { kind } }) {
    await exchange("failure", `/middleware/${kind}`, { fields: ["x-request-id", "content-type"] });
    const response = await answered(fetch("/hello"));
    say("failure", `${out("failure").textContent}\nand then: ${(await response.text()).trim()}`);
  },

  async security() {
    await exchange("security", "/hello", {
      fields: [
        "content-security-policy", "x-content-type-options", "x-frame-options", "referrer-policy",
        "cross-origin-opener-policy", "cross-origin-resource-policy",
      ],
    });
  },

  async log() {
    const response = await answered(fetch("/log"));
    say("log", (await response.text()).trim());
    out("log").scrollTop = out("log").scrollHeight;
  },
};
