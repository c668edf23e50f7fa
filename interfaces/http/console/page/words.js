// What things are called and how values are written for people.
import { el, icon } from "./dom.js";

const ACTIVE = ["claimed", "restoring", "linking", "preparing", "running", "syncing", "exported"];
const NAMES = { waiting_human: "waiting for you", exported: "finishing" };

/** The kind of a run's or a worker's state: what its colour and icon say. */
export function kindOf(state) {
  if (ACTIVE.includes(state)) return "active";
  if (state === "waiting_human" || state === "open") return "waiting";
  if (state === "succeeded" || state === "resolved" || state === "done" || state === "success") return "succeeded";
  if (state === "failed" || state === "blocked" || state === "dead") return "failed";
  if (state === "queued" || state === "answering" || state === "activating" || state === "todo") return "queued";
  return "stopped";
}

export const isOver = (state) => ["succeeded", "failed", "canceled", "blocked"].includes(state);

export function stateChip(state) {
  const kind = kindOf(state);
  return el("span", { class: `chip is-${kind}`, data: { state } }, icon(kind), el("span", {}, NAMES[state] ?? state.replaceAll("_", " ")));
}

/** A session's: a worker that is up works only while a run is attached to it. */
export function sessionChip({ state, phase, attachedRunId }) {
  const shown = phase === "running" ? state : phase;
  const kind = shown !== "running" ? kindOf(shown) : attachedRunId ? "active" : "up";
  return el("span", { class: `chip is-${kind}`, data: { state } }, icon(kind), el("span", {}, shown.replaceAll("_", " ")));
}

/** `<time>` that goes on saying how long ago it was. */
export function ago(iso, before = "") {
  const time = el("time", { datetime: iso, title: new Date(iso).toLocaleString(), data: { at: iso, before } });
  time.textContent = before + agoText(iso);
  return time;
}

function agoText(iso) {
  const seconds = (Date.now() - new Date(iso)) / 1000;
  if (seconds < 10) return "just now";
  if (seconds < 60) return `${Math.floor(seconds)} s ago`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ago`;
  if (seconds < 86400) return `${Math.floor(seconds / 3600)} h ago`;
  if (seconds < 30 * 86400) return `${Math.floor(seconds / 86400)} d ago`;
  return new Date(iso).toLocaleDateString();
}

export function refreshTimes() {
  for (const time of document.querySelectorAll("time[data-at]")) {
    const text = time.dataset.before + agoText(time.dataset.at);
    if (time.textContent !== text) time.textContent = text;
  }
}

export function duration(ms) {
  if (ms === null || ms === undefined || Number.isNaN(ms)) return "";
  if (ms < 1000) return `${Math.max(0, Math.round(ms))} ms`;
  if (ms < 60000) return `${(ms / 1000).toFixed(ms < 10000 ? 1 : 0)} s`;
  if (ms < 3600000) return `${Math.floor(ms / 60000)} min ${Math.round((ms % 60000) / 1000)} s`;
  return `${Math.floor(ms / 3600000)} h ${Math.round((ms % 3600000) / 60000)} min`;
}

export const since = (later, earlier) => new Date(later) - new Date(earlier);
export const number = (value) => new Intl.NumberFormat("en").format(value);
export const bytes = (size) => (size < 1024 ? `${size} B` : size < 1048576 ? `${(size / 1024).toFixed(1)} KiB` : `${(size / 1048576).toFixed(1)} MiB`);

export function money(usd) {
  return usd === null || usd === undefined ? "" : `$${usd < 0.1 && usd > 0 ? usd.toFixed(4) : usd.toFixed(2)}`;
}

export function usageText(usage) {
  const tokens = usage.inputTokens + usage.outputTokens;
  return [tokens ? `${number(tokens)} tokens` : "", money(usage.costUsd)].filter(Boolean).join(" · ");
}

/** A value as one short line. */
export function brief(value, length = 160) {
  const text = typeof value === "string" ? value : JSON.stringify(value);
  const line = (text ?? "").replace(/\s+/g, " ").trim();
  return line.length > length ? `${line.slice(0, length)}…` : line;
}

const TELLING = ["command", "cmd", "file_path", "filePath", "path", "pattern", "url", "query", "description", "prompt"];

/** What a tool was called with, in a few words. */
export function toolSummary(input) {
  if (input === null || input === undefined) return "";
  if (typeof input !== "object") return brief(input);
  for (const name of TELLING) {
    const value = input[name];
    if (typeof value === "string" && value) return brief(value);
    if (Array.isArray(value) && value.length) return brief(value.join(" "));
  }
  return Object.keys(input).length ? brief(input) : "";
}

// Colours and cursor moves of a terminal mean nothing here.
const ESCAPES = /\u001b(?:\[[0-?]*[ -/]*[@-~]|\][^\u0007\u001b]*(?:\u0007|\u001b\\)|[@-_])/g;
export const withoutEscapes = (text) => (text.includes("\u001b") ? text.replace(ESCAPES, "") : text);
