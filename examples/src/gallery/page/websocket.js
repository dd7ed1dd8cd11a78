/* WebSockets: one that comes back, and one that all share. */

import { millis, out, say, size } from "./show.js";

const address = (path) => `${location.protocol === "https:" ? "wss" : "ws"}://${location.host}${path}`;

/* The outcome of an event, or of that which comes in its place. */
const next = (socket, kind) => new Promise((resolve, reject) => {
  socket.addEventListener(kind, resolve, { once: true });
  socket.addEventListener("close", ({ code }) => reject(new Error(`closed with ${code}`)), { once: true });
});

export const websocket = {
  /* A conversation from its beginning to its end. */
  async echo() {
    const lines = [];
    const note = (line) => {
      lines.push(line);
      say("echo", lines.join("\n"));
    };
    const socket = new WebSocket(address("/echo"));
    socket.binaryType = "arraybuffer";
    const start = performance.now();
    await next(socket, "open");
    note(`open after ${millis(start)} ms`);

    const text = document.querySelector('[name="echo"]').value;
    socket.send(text);
    const { data } = await next(socket, "message");
    note(data === text ? `“${data}” came back` : `“${data}” came back for “${text}”`);

    const bytes = crypto.getRandomValues(new Uint8Array(65536));
    const sent = performance.now();
    socket.send(bytes);
    const back = new Uint8Array((await next(socket, "message")).data);
    const same = back.length === bytes.length && back.every((byte, index) => byte === bytes[index]);
    note(`${size(back.length)} of noise came back${same ? "" : " CHANGED"}, ${millis(sent)} ms`);

    const closed = new Promise((resolve) => socket.addEventListener("close", resolve, { once: true }));
    socket.close(1000, "that is all");
    const { code, wasClean } = await closed;
    note(`closed with ${code}, ${wasClean ? "as it should be" : "NOT as it should be"}`);
  },

  async join() {
    if (chat?.readyState === WebSocket.OPEN) {
      const closed = new Promise((resolve) => chat.addEventListener("close", resolve, { once: true }));
      chat.close(1000);
      await closed;
    } else {
      chat = new WebSocket(address("/chat"));
      chat.addEventListener("message", ({ data }) => heard(data));
      chat.addEventListener("close", ({ code }) => {
        heard(`* you are out (${code})`);
        present(false);
      });
      await next(chat, "open");
      present(true);
    }
  },
};

let chat;
const form = document.querySelector('[data-form="chat"]');

const heard = (line) => say("chat", [...out("chat").textContent.split("\n").filter(Boolean).slice(-5), line].join("\n"));

const present = (isIn) => {
  form.querySelector('[data-run="join"]').textContent = isIn ? "Leave" : "Join";
  form.querySelector('[type="submit"]').disabled = !isIn;
};

form.addEventListener("submit", (event) => {
  event.preventDefault();
  if (form.elements.chat.value) chat.send(form.elements.chat.value);
  form.elements.chat.value = "";
});
