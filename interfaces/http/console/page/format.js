// @ts-check
// Formats states, times, amounts and values as text.
import { el, icon } from "./dom.js";

const ACTIVE = ["claimed", "restoring", "linking", "preparing", "running", "syncing", "exported"];
/** @type {Record<string, string>} */
const NAMES = { waiting_human: "waiting for you", exported: "finishing" };

/**
 * The kind of a state (of a run, session worker, question, effect or todo), which selects its colour and icon.
 * @param {string} state
 */
export function kindOf(state) {
  if (ACTIVE.includes(state)) return "active";
  if (state === "waiting_human" || state === "open") return "waiting";
  if (state === "succeeded" || state === "resolved" || state === "done" || state === "success") return "succeeded";
  if (state === "failed" || state === "blocked" || state === "dead") return "failed";
  if (state === "queued" || state === "answering" || state === "activating" || state === "todo") return "queued";
  return "stopped";
}

/** @param {string} state  Of a run. */
export const hasEnded = (state) => ["succeeded", "failed", "canceled", "blocked"].includes(state);

/** @param {string} state */
export function stateChip(state) {
  const kind = kindOf(state);
  return el("span", { class: `chip is-${kind}`, data: { state } }, icon(kind), el("span", {}, NAMES[state] ?? state.replaceAll("_", " ")));
}

/**
 * The state of a session. A running session worker is shown as active only while a run is attached to it.
 * @param {Pick<Api.SessionWorkerView, "state" | "phase" | "attachedRunId">} session
 */
export function sessionChip({ state, phase, attachedRunId }) {
  const shown = phase === "running" ? state : phase;
  const kind = shown !== "running" ? kindOf(shown) : attachedRunId ? "active" : "up";
  return el("span", { class: `chip is-${kind}`, data: { state } }, icon(kind), el("span", {}, shown.replaceAll("_", " ")));
}

/**
 * A `<time>` element whose relative time refreshTimes() keeps current.
 * @param {string} iso
 */
export function ago(iso, before = "") {
  const time = el("time", { datetime: iso, title: new Date(iso).toLocaleString(), data: { at: iso, before } });
  time.textContent = before + agoText(iso);
  return time;
}

/** @param {string} iso */
function agoText(iso) {
  const seconds = (Date.now() - new Date(iso).getTime()) / 1000;
  if (seconds < 10) return "just now";
  if (seconds < 60) return `${Math.floor(seconds)} s ago`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ago`;
  if (seconds < 86400) return `${Math.floor(seconds / 3600)} h ago`;
  if (seconds < 30 * 86400) return `${Math.floor(seconds / 86400)} d ago`;
  return new Date(iso).toLocaleDateString();
}

export function refreshTimes() {
  for (const time of /** @type {NodeListOf<HTMLTimeElement>} */ (document.querySelectorAll("time[data-at]"))) {
    const text = (time.dataset.before ?? "") + agoText(time.dateTime);
    if (time.textContent !== text) time.textContent = text;
  }
}

/** @param {number | null | undefined} ms */
export function duration(ms) {
  if (ms === null || ms === undefined || Number.isNaN(ms)) return "";
  if (ms < 1000) return `${Math.max(0, Math.round(ms))} ms`;
  if (ms < 60000) return `${(ms / 1000).toFixed(ms < 10000 ? 1 : 0)} s`;
  if (ms < 3600000) return `${Math.floor(ms / 60000)} min ${Math.round((ms % 60000) / 1000)} s`;
  return `${Math.floor(ms / 3600000)} h ${Math.round((ms % 3600000) / 60000)} min`;
}

/**
 * Milliseconds between two times.
 * @param {string} later
 * @param {string} earlier
 */
export const msBetween = (later, earlier) => new Date(later).getTime() - new Date(earlier).getTime();
/** @param {number} value */
export const number = (value) => new Intl.NumberFormat("en").format(value);
/** @param {number} size */
export const bytes = (size) => (size < 1024 ? `${size} B` : size < 1048576 ? `${(size / 1024).toFixed(1)} KiB` : `${(size / 1048576).toFixed(1)} MiB`);

/** @param {number | null | undefined} usd */
export function money(usd) {
  return usd === null || usd === undefined ? "" : `$${usd < 0.1 && usd > 0 ? usd.toFixed(4) : usd.toFixed(2)}`;
}

/** @param {Pick<Api.UsageView, "inputTokens" | "outputTokens" | "costUsd">} usage */
export function usageText(usage) {
  const tokens = usage.inputTokens + usage.outputTokens;
  return [tokens ? `${number(tokens)} tokens` : "", money(usage.costUsd)].filter(Boolean).join(" · ");
}

/**
 * A value as one short line.
 * @param {unknown} value
 */
export function oneLine(value, length = 160) {
  const text = typeof value === "string" ? value : JSON.stringify(value);
  const line = (text ?? "").replace(/\s+/g, " ").trim();
  return line.length > length ? `${line.slice(0, length)}…` : line;
}

// The arguments that best summarize a tool call, by precedence.
const MAIN_ARGUMENTS = ["command", "cmd", "file_path", "filePath", "path", "pattern", "url", "query", "description", "prompt"];

/**
 * A tool's input, summarized in one line.
 * @param {unknown} input
 */
export function toolSummary(input) {
  if (input === null || input === undefined) return "";
  if (typeof input !== "object") return oneLine(input);
  const fields = /** @type {Record<string, unknown>} */ (input);
  for (const name of MAIN_ARGUMENTS) {
    const value = fields[name];
    if (typeof value === "string" && value) return oneLine(value);
    if (Array.isArray(value) && value.length) return oneLine(value.join(" "));
  }
  return Object.keys(fields).length ? oneLine(input) : "";
}

// Terminal escape sequences (colours, cursor movement).
// biome-ignore lint/suspicious/noControlCharactersInRegex: the pattern matches control characters
const ESCAPES = /\u001b(?:\[[0-?]*[ -/]*[@-~]|\][^\u0007\u001b]*(?:\u0007|\u001b\\)|[@-_])/g;
/** @param {string} text */
export const withoutEscapes = (text) => (text.includes("\u001b") ? text.replace(ESCAPES, "") : text);
