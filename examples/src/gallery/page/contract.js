/* What servers and contract can do. */

import { answered, millis, out, say, size } from "./show.js";

export const contract = {
  async hello() {
    const start = performance.now();
    const text = await answered(fetch("/hello")).then((response) => response.text());
    say("hello", `${text.trim()}\n${(performance.now() - start).toFixed(1)} ms`);
  },

  async stream() {
    const pieces = out("stream");
    pieces.replaceChildren(...Array.from({ length: 24 }, () => {
      const piece = document.createElement("i");
      piece.className = "due";
      return piece;
    }));
    const start = performance.now();
    const response = await answered(fetch("/stream?n=24"));
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    let arrived = 0;
    let reads = 0;
    for (;;) {
      const { done, value } = await reader.read();
      if (done) break;
      reads += 1;
      for (const character of value) {
        if (character === "\n") pieces.children[arrived++]?.classList.remove("due");
      }
      say("stream-note", `${arrived} pieces in ${reads} reads, ${millis(start)} ms`);
    }
  },

  async crowd(button) {
    const count = Number(button.dataset.count);
    const bars = out("crowd");
    bars.replaceChildren();
    bars.classList.add("busy");
    const start = performance.now();
    const ticking = setInterval(() => say("crowd-note", `${count} requests wait: ${millis(start)} ms`), 50);
    try {
      const response = await answered(fetch(`/crowd?n=${count}`, { method: "POST" }));
      const crowd = await response.json();
      const longest = Math.max(...crowd.millis);
      /* No more bars than there is room for: each is the slowest of its group. */
      const group = Math.ceil(crowd.millis.length / 100);
      const slowest = crowd.millis.filter((_, index) => index % group === 0)
        .map((_, index) => Math.max(...crowd.millis.slice(index * group, (index + 1) * group)));
      bars.replaceChildren(...slowest.map((took) => {
        const bar = document.createElement("i");
        bar.style.height = `${(100 * took) / (longest * 1.15)}%`;
        return bar;
      }));
      clearInterval(ticking);
      const failed = crowd.failed ? `, ${crowd.failed} failed` : "";
      say("crowd-note", `${crowd.millis.length} answers of one second each in ${crowd.total_millis} ms altogether` +
        ` (the slowest ${longest} ms)${failed}`, crowd.failed ? "bad" : "");
    } finally {
      clearInterval(ticking);
      bars.classList.remove("busy");
    }
  },

  async request(button) {
    const { method } = button.dataset;
    const body = method === "PUT" ? "a body of twenty-six bytes" : undefined;
    const response = await answered(
      fetch("/request/a%2Fb//c?x=1&x=2&empty=", { method, body, headers: { "X-Said": "Hello" } }),
    );
    const { request, headers } = await response.json();
    const row = (name, value, kind) => {
      const line = document.createElement("tr");
      const head = Object.assign(document.createElement("th"), { textContent: name, className: kind });
      const cell = Object.assign(document.createElement("td"), { textContent: value ?? "none" });
      line.append(head, cell);
      return line;
    };
    out("request").replaceChildren(
      ...request.map(([name, value]) => row(name, value, "")),
      ...headers.map(([name, value]) => row(name, value, "field")),
    );
  },

  async wait() {
    const form = document.querySelector('[data-form="letters"]');
    const post = form.querySelector("[type=submit]");
    form.dataset.name = `letter-${Math.random().toString(36).slice(2)}`;
    post.disabled = false;
    const start = performance.now();
    const ticking = setInterval(() => say("letters", `waiting for a letter: ${millis(start)} ms`), 100);
    try {
      const response = await answered(fetch(`/letters/${form.dataset.name}`));
      const text = response.status === 200 ? `“${await response.text()}”` : "no letter came";
      clearInterval(ticking);
      say("letters", `${text}\nafter ${millis(start)} ms`, response.status === 200 ? "good" : "");
    } finally {
      clearInterval(ticking);
      post.disabled = true;
    }
  },
};

document.querySelector('[data-form="letters"]').addEventListener("submit", async (event) => {
  event.preventDefault();
  const form = event.target;
  await answered(fetch(`/letters/${form.dataset.name}`, { method: "POST", body: form.elements.letter.value }))
    .catch((error) => say("letters", `that went wrong: ${error.message}`, "bad"));
});

/* The clock. EventSource comes back by itself; after a goodbye that is of no use until somebody starts the server. */
function watch() {
  const state = (text, mood) => {
    const place = out("events-state");
    place.textContent = text;
    place.className = `status ${mood}`;
  };
  const events = new EventSource("/events");
  events.addEventListener("open", () => state("live", "live"));
  events.addEventListener("message", (event) => {
    const tick = JSON.parse(event.data);
    say("clock", new Date(tick.unix_millis).toLocaleTimeString([], { hour12: false }));
    const watchers = tick.watchers === 1 ? "only you are" : `${tick.watchers} clients are`;
    say("watchers", `line ${tick.line} from worker ${tick.worker}; ${watchers} watching`);
  });
  events.addEventListener("goodbye", () => state("the server said goodbye", "over"));
  events.addEventListener("error", () => {
    if (!out("events-state").textContent.includes("goodbye")) state("connection lost, trying again", "over");
  });
}

/* Upload by XMLHttpRequest: fetch does not tell how much has been sent. */
function upload(file) {
  const bar = out("upload-progress");
  const request = new XMLHttpRequest();
  const start = performance.now();
  bar.hidden = false;
  bar.value = 0;
  request.upload.addEventListener("progress", (event) => {
    if (event.lengthComputable && event.total) bar.value = event.loaded / event.total;
    say("upload", `${size(event.loaded)} of ${size(file.size)}`);
  });
  request.addEventListener("error", () => say("upload", "that went wrong: the connection broke", "bad"));
  request.addEventListener("load", async () => {
    bar.hidden = true;
    if (request.status !== 200) return say("upload", `that went wrong: ${request.responseText}`, "bad");
    const { bytes, sha256 } = JSON.parse(request.responseText);
    const seconds = (performance.now() - start) / 1000;
    const text = `${bytes.toLocaleString()} bytes, ${size(bytes / seconds)}/s\nsha-256 ${sha256}`;
    say("upload", text);
    if (file.size > 256 * 1024 * 1024 || !window.crypto?.subtle) return;
    const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", await file.arrayBuffer()));
    const own = Array.from(digest, (byte) => byte.toString(16).padStart(2, "0")).join("");
    say("upload", `${text}\n${own === sha256 ? "the same as your browser computes" : "NOT what your browser computes"}`,
      own === sha256 ? "good" : "bad");
  });
  request.open("POST", "/upload");
  request.send(file);
}

const drop = document.querySelector('[data-drop="upload"]');
document.querySelector('[data-file="upload"]').addEventListener("change", (event) => {
  if (event.target.files[0]) upload(event.target.files[0]);
  event.target.value = "";
});
for (const kind of ["dragenter", "dragover", "dragleave", "drop"]) {
  drop.addEventListener(kind, (event) => {
    event.preventDefault();
    drop.classList.toggle("over", kind === "dragenter" || kind === "dragover");
    if (kind === "drop" && event.dataTransfer.files[0]) upload(event.dataTransfer.files[0]);
  });
}

watch();
