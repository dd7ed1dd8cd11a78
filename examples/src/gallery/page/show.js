/* How the page shows what it was told. */

/* The place where a demonstration shows its outcome. */
export const out = (name) => document.querySelector(`[data-out="${name}"]`);

export const say = (name, text, mood = "") => {
  const place = out(name);
  place.textContent = text;
  place.classList.remove("good", "bad");
  if (mood) place.classList.add(mood);
};

export const millis = (from) => Math.round(performance.now() - from);

export const size = (bytes) => {
  const units = ["bytes", "KiB", "MiB", "GiB"];
  let unit = 0;
  for (; bytes >= 1024 && unit < units.length - 1; unit += 1) bytes /= 1024;
  return `${unit ? bytes.toFixed(1) : bytes} ${units[unit]}`;
};

/* The response, if it is a good one. */
export const answered = async (request) => {
  const response = await request;
  if (!response.ok) throw new Error(`${response.status} ${(await response.text()).trim().slice(0, 200)}`);
  return response;
};

/* A request as one would write it down. */
export const line = (method, target) => {
  const { host, pathname, search } = new URL(target, location);
  return `${method} ${pathname}${search}${host === location.host ? "" : ` at ${host}`}`;
};

/* Asks, and shows what came: the status, the fields that matter, the body. */
export const exchange = async (place, target, { fields = [], ...options } = {}) => {
  const response = await fetch(target, options);
  const text = (await response.text()).trim();
  const told = fields.filter((name) => response.headers.has(name))
    .map((name) => `${name}: ${response.headers.get(name)}`);
  const status = `${response.status} ${response.statusText}`;
  say(place, [line(options.method ?? "GET", target), status, ...told, text].filter(Boolean).join("\n"));
  return { response, text };
};
