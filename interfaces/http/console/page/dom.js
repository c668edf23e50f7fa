// @ts-check
// Elements are built from text nodes only, never from HTML: what an agent wrote stays text.
import { isAborted } from "./api.js";

/** @typedef {Node | string | number | false | null | undefined | readonly Child[]} Child  False, null and "" show nothing. */
/** @typedef {{ [Name in keyof HTMLElementEventMap]?: (event: HTMLElementEventMap[Name]) => unknown }} Listeners */
/** @typedef {{ class?: string, on?: Listeners, data?: Record<string, string | number> } & Record<string, unknown>} Props */

/**
 * An element. `props`: `class`, `on` (listeners by event), `data` (dataset), and attributes; false and null are left out.
 * @template {keyof HTMLElementTagNameMap} Name
 * @param {Name} name
 * @param {Props} props
 * @param {...Child} children
 * @returns {HTMLElementTagNameMap[Name]}
 */
export function el(name, props = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(props)) {
    if (value === false || value === null || value === undefined || key === "on" || key === "data") continue;
    if (key === "class") element.className = String(value);
    else element.setAttribute(key, value === true ? "" : String(value));
  }
  for (const [event, listener] of Object.entries(props.on ?? {})) element.addEventListener(event, /** @type {EventListener} */ (listener));
  Object.assign(element.dataset, props.data);
  put(element, children);
  return element;
}

/**
 * @param {Element} element
 * @param {readonly Child[]} children
 */
export function put(element, children) {
  for (const child of children) {
    if (child === null || child === undefined || child === false || child === "") continue;
    if (child instanceof Node || typeof child === "string") element.append(child);
    else if (typeof child === "number") element.append(String(child));
    else put(element, child);
  }
}

/**
 * Replace the content of an element.
 * @template {Element} Filled
 * @param {Filled} element
 * @param {...Child} children
 */
export function fill(element, ...children) {
  element.textContent = "";
  put(element, children);
  return element;
}

/**
 * An element of index.html.
 * @param {string} id
 */
export function byId(id) {
  const element = document.getElementById(id);
  if (!element) throw new Error(`the page has no #${id}`);
  return element;
}

/**
 * The element that an event came from; the body for events of the document.
 * @param {Event} event
 */
export const targetOf = (event) => (event.target instanceof HTMLElement ? event.target : document.body);

/** @type {Record<string, string>} */
const SHAPES = {
  queued: "M8 4.5V8l2.3 1.6 M8 14A6 6 0 1 0 8 2a6 6 0 0 0 0 12",
  active: "M8 2a6 6 0 1 1-5.6 3.8",
  waiting: "M6.2 6.2a1.9 1.9 0 1 1 2.7 1.9c-.6.3-.9.7-.9 1.3 M8 11.4v.1 M8 14A6 6 0 1 0 8 2a6 6 0 0 0 0 12",
  succeeded: "M5.3 8.3l1.9 1.9 3.6-4 M8 14A6 6 0 1 0 8 2a6 6 0 0 0 0 12",
  failed: "M6 6l4 4 M10 6l-4 4 M8 14A6 6 0 1 0 8 2a6 6 0 0 0 0 12",
  up: "M8 10.500a2.500 2.500 0 1 0 0-5 2.500 2.500 0 0 0 0 5 M8 14A6 6 0 1 0 8 2a6 6 0 0 0 0 12",
  stopped: "M5.5 8h5 M8 14A6 6 0 1 0 8 2a6 6 0 0 0 0 12",
  tool: "M10.9 2.6a3.4 3.4 0 0 0-4 4.5L2.6 11.4a1.4 1.4 0 0 0 2 2l4.3-4.3a3.4 3.4 0 0 0 4.5-4l-2 2-1.9-.6-.6-1.9z",
  text: "M2.5 3.5h11v7.4H8.2L5 13.4v-2.5H2.5z",
  thought: "M5.8 10.6a4.2 4.2 0 1 1 4.4 0v1.5H5.8z M6.4 14h3.2",
  todo: "M2.6 4.2l1 1 1.8-2 M2.6 11l1 1 1.8-2 M8 4.4h5.4 M8 11.2h5.4",
  warning: "M8 2.6l6 10.8H2z M8 6.6v3 M8 11.4v.1",
  event: "M8 10a2 2 0 1 0 0-4 2 2 0 0 0 0 4",
  person: "M8 7.6a2.6 2.6 0 1 0 0-5.2 2.6 2.6 0 0 0 0 5.2 M3 13.6c.5-2.7 2.4-4 5-4s4.500 1.300 5 4",
  effect: "M8.800 1.800L3.600 9h3.800l-.6 5.200L12.400 7H8.500z",
  box: "M2.500 5L8 2.200 13.500 5v6L8 13.800 2.500 11z M2.500 5L8 7.800 13.500 5 M8 7.800v6",
  chevron: "M6 4l4 4-4 4",
};

/**
 * An icon beside a text of the same meaning, so hidden from screen readers.
 * @param {string} name
 */
export function icon(name) {
  const space = "http://www.w3.org/2000/svg";
  const svg = document.createElementNS(space, "svg");
  svg.setAttribute("viewBox", "0 0 16 16");
  svg.setAttribute("class", `icon icon-${name}`);
  svg.setAttribute("aria-hidden", "true");
  const path = document.createElementNS(space, "path");
  path.setAttribute("d", SHAPES[name] ?? SHAPES.event);
  svg.append(path);
  return svg;
}

/**
 * Runs `work` at most once per animation frame; in a hidden tab, which has no frames, after 300 ms.
 * @param {() => void} work
 */
export function oncePerFrame(work) {
  let frame = 0, timer = 0;
  const run = () => { cancelAnimationFrame(frame); clearTimeout(timer); frame = 0; timer = 0; work(); };
  return () => { if (!frame) { frame = requestAnimationFrame(run); timer = setTimeout(run, 300); } };
}

/**
 * Runs the async `work` at most every `pauseMs`, one at a time, and once more if it was called meanwhile.
 * @param {() => Promise<void>} work
 * @param {number} pauseMs
 */
export function throttled(work, pauseMs) {
  let busy = false, again = false;
  const run = async () => {
    if (busy) { again = true; return; }
    busy = true;
    do {
      again = false;
      try { await work(); } catch (error) { if (!isAborted(error)) console.error(error); }
      await new Promise((done) => setTimeout(done, pauseMs));
    } while (again);
    busy = false;
  };
  return run;
}

/**
 * Announce a text to screen readers.
 * @param {string} text
 */
export function announce(text) {
  byId("announcements").textContent = text;
}
