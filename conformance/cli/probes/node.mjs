// The probe routes of conformance/suite/ROUTES.md for Node's own http server.
//
//     node conformance/cli/probes/node.mjs 8000
//     varvel-conformance run --url http://127.0.0.1:8000

import { createHash } from "node:crypto";
import { createServer } from "node:http";

const port = Number(process.argv[2] ?? 8000);

const server = createServer(async (request, response) => {
  const [route, argument] = request.url.split("?")[0].split("/").slice(1);
  const text = { "Content-Type": "text/plain; charset=utf-8" };
  try {
    switch (route) {
      case "echo":
        for await (const data of request) response.write(data);
        return response.end();
      case "noread":
        return response.writeHead(200, text).end("noread\n");
      case "status":
      case "nobody": {
        const status = Number(argument);
        if (!(status >= 100 && status <= 999)) return response.writeHead(400, text).end("that is no status\n");
        const bodiless = status < 200 || status === 204 || status === 304;
        if (bodiless && route === "status") return response.writeHead(status).end();
        return response.writeHead(status, text).end(`status ${status}\n`);
      }
      case "stream":
        response.writeHead(200, text);
        for (let nth = 0; nth < Number(argument); nth++) response.write(`chunk ${nth}\n`);
        return response.end();
      case "length-short":
        return response.writeHead(200, { ...text, "Content-Length": 10 }).end("short");
      case "length-long":
        return response.writeHead(200, { ...text, "Content-Length": 10 }).end("longer than ten");
      case "inject":
        return response.writeHead(200, { "X-Inject": "a\r\nInjected: yes" }).end();
      case "panic":
        throw new Error("as the request asked");
      case "slow":
        await new Promise((resolve) => setTimeout(resolve, Number(argument)));
    }
    const description = JSON.stringify(await describe(request));
    response.writeHead(200, { "Content-Type": "application/json" }).end(description);
  } catch {
    // What `response.end` was told too late cannot be taken back.
    if (response.headersSent) return response.destroy();
    response.writeHead(500).end();
  }
});

async function describe(request) {
  const digest = createHash("sha256");
  let length = 0;
  for await (const data of request) {
    digest.update(data);
    length += data.length;
  }
  // What is `undefined` is left out of the description, and not judged.
  const [path, query] = split(request.url);
  return {
    method: request.method,
    target: request.url,
    path,
    query,
    version: request.httpVersion,
    headers: pairs(request.rawHeaders),
    body_len: length,
    body_sha256: digest.digest("hex"),
    trailers: pairs(request.rawTrailers),
  };
}

/// Node hands over the target as it is; only of one that begins with a slash are path and query told.
function split(target) {
  if (!target.startsWith("/")) return [undefined, undefined];
  const at = target.indexOf("?");
  return at < 0 ? [target, null] : [target.slice(0, at), target.slice(at + 1)];
}

function pairs(raw) {
  return Array.from({ length: raw.length / 2 }, (_, nth) => [raw[2 * nth].toLowerCase(), raw[2 * nth + 1]]);
}

server.listen(port, "127.0.0.1");
