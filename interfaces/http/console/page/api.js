// @ts-check
// Calls of the API: reads are retried while the server restarts; commands have an idempotency key.

/** @typedef {string | number | null | undefined | readonly string[]} Param */
/** @typedef {Record<string, Param>} Params  null, undefined and "" are left out; a list becomes one parameter for each entry. */

const ROOT = new URL("../", import.meta.url);
const KEY = "fleetlog.key";
const MAX_ATTEMPTS = 30;

/** An error response of the API: `status`, and a `message` to show. */
export class ApiError extends Error {
  /**
   * @param {number} status
   * @param {Partial<Api.ProblemDocument>} problem
   */
  constructor(status, problem) {
    const fields = (problem.errors ?? []).map((each) => `${each.field} ${each.message}`).join("; ");
    super(fields || problem.detail || problem.title || `the server answered ${status}`);
    this.status = status;
  }
}

/** @param {unknown} error  What was thrown. */
export const isAborted = (error) => error instanceof Error && error.name === "AbortError";

/** @param {unknown} error  Anything that was thrown; the message to show. */
export const messageOf = (error) => (error instanceof Error ? error.message : String(error));

/** @type {() => void} */
let showAccepted = () => {};
/** @type {(rejected: boolean) => Promise<void>} */
let askForKey = () => Promise.reject(new Error("nothing asks for a key yet"));
/** @type {Promise<void> | null} */
let asking = null;

/**
 * @param {(rejected: boolean) => Promise<void>} ask  Shows a way to enter a key and resolves once one was entered.
 * @param {() => void} accepted  Called when the server has accepted the current key.
 */
export function onKeyRequired(ask, accepted) { askForKey = ask; showAccepted = accepted; }
export const currentKey = () => sessionStorage.getItem(KEY);
/** @param {string} key */
export const storeKey = (key) => sessionStorage.setItem(KEY, key);
export const forgetKey = () => sessionStorage.removeItem(KEY);

/** @param {Record<string, string>} more */
export function headers(more = {}) {
  const key = currentKey();
  return key ? { authorization: `Bearer ${key}`, ...more } : more;
}

/**
 * @param {string} path
 * @param {Params} params
 */
export function urlOf(path, params = {}) {
  const url = new URL(path, ROOT);
  for (const [name, value] of Object.entries(params)) {
    for (const each of typeof value === "object" && value ? value : [value]) if (each !== undefined && each !== null && each !== "") url.searchParams.append(name, String(each));
  }
  return url;
}

/**
 * Ask the user for a new key, once for all concurrent calls; does nothing if `rejected` is no longer the current key.
 * @param {string | null} rejected
 */
export async function requireNewKey(rejected) {
  if (rejected !== currentKey()) return;
  forgetKey();
  asking ??= askForKey(rejected !== null).finally(() => { asking = null; });
  await asking;
}

/**
 * @param {URL} url
 * @param {RequestInit & { headers?: Record<string, string> }} options
 */
async function authorizedFetch(url, options) {
  for (;;) {
    const key = currentKey();
    const answer = await fetch(url, { ...options, headers: headers(options.headers), cache: "no-store" });
    if (answer.status !== 401) {
      if (key) showAccepted();
      return answer;
    }
    await requireNewKey(key);
  }
}

/** @param {Response} answer */
async function parseResponse(answer) {
  const text = await answer.text();
  let body = {};
  try { body = text ? JSON.parse(text) : {}; } catch { body = { detail: text.slice(0, 200) }; }
  if (!answer.ok) throw new ApiError(answer.status, body);
  return body;
}

/**
 * A read. It is retried for some minutes while the server can't be reached or answers 503.
 * @template T  The type of the answer, of namespace Api.
 * @param {string} path
 * @param {Params} params
 * @param {AbortSignal} [signal]
 * @returns {Promise<T>}
 */
export async function get(path, params = {}, signal = undefined) {
  for (let attempt = 1; ; attempt += 1) {
    try {
      const answer = await authorizedFetch(urlOf(path, params), { signal });
      if (answer.status !== 503 || attempt >= MAX_ATTEMPTS) return /** @type {T} */ (await parseResponse(answer));
    } catch (error) {
      if (!(error instanceof TypeError) || attempt >= MAX_ATTEMPTS) throw error;
    }
    await pause(attempt, signal);
  }
}

/**
 * A command. `key` is its idempotency key, so that a retry changes nothing.
 * @template T  The type of the answer, of namespace Api.
 * @param {string} path
 * @param {unknown} body
 * @param {Params} params
 * @param {string} key
 * @returns {Promise<T>}
 */
export async function command(path, body, params = {}, key = randomId()) {
  for (let attempt = 1; ; attempt += 1) {
    try {
      return /** @type {T} */ (await parseResponse(await authorizedFetch(urlOf(path, params), {
        method: "POST", body: JSON.stringify(body), headers: { "content-type": "application/json", "idempotency-key": key },
      })));
    } catch (error) {
      if (!(error instanceof TypeError) || attempt >= 5) throw error;
    }
    await pause(attempt);
  }
}

/**
 * Waits 0.25 s, 0.5 s, … 8 s, with 20 % jitter.
 * @param {number} attempt
 * @param {AbortSignal} [signal]
 * @returns {Promise<void>}
 */
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
