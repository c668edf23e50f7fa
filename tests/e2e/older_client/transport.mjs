// How a client of the system before speaks to the API: JSON with fetch, and server-sent events that it parses itself, so that it
// can post and send a key. Runs in Node and in browsers.

export class Transport {
  /** `base`: of the API, without a slash at its end. `key`: an API key, if it sends one. */
  constructor({ base, key = "" }) {
    this.base = base;
    this.key = key;
  }

  get(path, query = {}) {
    return this.json("GET", `${path}?${new URLSearchParams(query)}`);
  }

  post(path, body) {
    return this.json("POST", path, body);
  }

  put(path, body) {
    return this.json("PUT", path, body);
  }

  async json(method, path, body) {
    const answer = await this.fetch(method, path, { body });
    const text = await answer.text();
    if (!answer.ok) throw new Error(`${method} ${path}: ${answer.status} ${text}`);
    return JSON.parse(text);
  }

  /** The stream of a run that is started, or, with a `cursor`, of what came after it. */
  start(body) {
    return this.events("POST", "/api/runs/start?compat=1", { body });
  }

  resume(runId, cursor) {
    return this.events("GET", `/api/runs/${runId}/stream?cursor=${cursor}&compat=1`);
  }

  /** Yields `{id, event, data}`. Leaving the loop drops the connection. */
  async *events(method, path, options) {
    const drop = new AbortController();
    const answer = await this.fetch(method, path, { ...options, accept: "text/event-stream", signal: drop.signal });
    if (answer.status !== 200) throw new Error(`${method} ${path}: ${answer.status} ${await answer.text()}`);
    const reader = answer.body.getReader();
    const decoder = new TextDecoder();
    let rest = "";
    try {
      for (;;) {
        const { done, value } = await reader.read();
        if (done) return;
        rest += decoder.decode(value, { stream: true });
        const blocks = rest.split("\n\n");
        rest = blocks.pop();
        for (const block of blocks) {
          const frame = parsed(block);
          if (frame) yield frame;
        }
      }
    } finally {
      drop.abort();
    }
  }

  fetch(method, path, { body, accept = "application/json", signal, headers = {} } = {}) {
    return fetch(this.base + path, {
      method,
      signal,
      headers: {
        accept,
        ...(body === undefined ? {} : { "content-type": "application/json" }),
        ...(this.key ? { authorization: `Bearer ${this.key}` } : {}),
        ...headers,
      },
      body: body === undefined ? undefined : JSON.stringify(body),
    });
  }
}

function parsed(block) {
  const fields = {};
  for (const line of block.split("\n")) {
    const colon = line.indexOf(": ");
    if (colon > 0) fields[line.slice(0, colon)] = line.slice(colon + 2);
  }
  return fields.event ? { id: fields.id ?? "", event: fields.event, data: JSON.parse(fields.data) } : null;
}
