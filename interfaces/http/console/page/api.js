// Calls of the API: reads that wait out a restart, commands that are never done twice.

const ROOT = new URL("../", import.meta.url);
const KEY = "fleetlog.key";
const MOST_TRIES = 30;

/** A refusal by the API: `status`, and `message` for people. */
export class Refused extends Error {
  constructor(status, problem) {
    const fields = (problem.errors ?? []).map((each) => `${each.field} ${each.message}`).join("; ");
    super(fields || problem.detail || problem.title || `the server answered ${status}`);
    this.status = status;
  }
}

let askForKey = null, asking = null;
/** `ask` shows a way to enter a key and resolves once one was entered. */
export function onKeyWanted(ask) { askForKey = ask; }
export const hasKey = () => sessionStorage.getItem(KEY) !== null;
export const keepKey = (key) => sessionStorage.setItem(KEY, key);
export const forgetKey = () => sessionStorage.removeItem(KEY);

export function headers(more = {}) {
  const key = sessionStorage.getItem(KEY);
  return key ? { authorization: `Bearer ${key}`, ...more } : more;
}

export function urlOf(path, params = {}) {
  const url = new URL(path, ROOT);
  for (const [name, value] of Object.entries(params)) {
    for (const each of Array.isArray(value) ? value : [value]) if (each !== undefined && each !== null && each !== "") url.searchParams.append(name, each);
  }
  return url;
}

/** Ask for a key, once for all that want one. The key that was refused is given up. */
export async function newKey(refused) {
  if (refused !== sessionStorage.getItem(KEY)) return;
  asking ??= askForKey(refused !== null).finally(() => { asking = null; });
  await asking;
}

async function called(url, options) {
  for (;;) {
    const key = sessionStorage.getItem(KEY);
    const answer = await fetch(url, { ...options, headers: headers(options.headers), cache: "no-store" });
    if (answer.status !== 401) return answer;
    await newKey(key);
  }
}

async function result(answer) {
  const text = await answer.text();
  let body = {};
  try { body = text ? JSON.parse(text) : {}; } catch { body = { detail: text.slice(0, 200) }; }
  if (!answer.ok) throw new Refused(answer.status, body);
  return body;
}

/** A read. While the server can't be reached or is behind, it is tried again, for some minutes. */
export async function get(path, params = {}, signal = undefined) {
  for (let attempt = 1; ; attempt += 1) {
    try {
      const answer = await called(urlOf(path, params), { signal });
      if (answer.status !== 503 || attempt >= MOST_TRIES) return await result(answer);
    } catch (error) {
      if (!(error instanceof TypeError) || attempt >= MOST_TRIES) throw error;
    }
    await pause(attempt, signal);
  }
}

/** A command; `key` names it, so that a second try of the same changes nothing. */
export async function command(path, body, params = {}, key = randomId()) {
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await result(await called(urlOf(path, params), {
        method: "POST", body: JSON.stringify(body), headers: { "content-type": "application/json", "idempotency-key": key },
      }));
    } catch (error) {
      if (!(error instanceof TypeError) || attempt >= 5) throw error;
    }
    await pause(attempt);
  }
}

/** Waits 0.25 s, 0.5 s, … 8 s, a little more or less each time. */
export function pause(attempt, signal = undefined) {
  const ms = Math.min(8000, 125 * 2 ** Math.min(attempt, 10)) * (0.8 + 0.4 * Math.random());
  return new Promise((done, fail) => {
    const timer = setTimeout(done, ms);
    signal?.addEventListener("abort", () => { clearTimeout(timer); fail(signal.reason); }, { once: true });
  });
}

function randomId() {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}
