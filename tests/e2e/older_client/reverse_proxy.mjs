// A reverse proxy as portals have: everything goes to one server, with its API key added. Arguments: the server's URL, the key.
// Prints its port.
import http from "node:http";

const [upstream, key] = process.argv.slice(2);

const proxy = http.createServer((request, response) => {
  const headers = { ...request.headers, authorization: `Bearer ${key}`, "x-forwarded-host": request.headers.host };
  const passed = http.request(upstream + request.url, { method: request.method, headers }, (answer) => {
    response.writeHead(answer.statusCode, answer.headers);
    answer.pipe(response);
  });
  passed.on("error", () => response.destroy());
  response.on("close", () => passed.destroy());
  request.pipe(passed);
});

proxy.listen(0, "127.0.0.1", () => process.stdout.write(`${proxy.address().port}\n`));
