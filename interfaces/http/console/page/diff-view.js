// @ts-check
// The difference of two states, by field, with the event that changed it.
import { el } from "./dom.js";
import { oneLine } from "./format.js";

const ALWAYS = ["/seq", "/position", "/updatedAt"];

/**
 * The elements of a difference.
 * @param {Api.Difference} difference
 * @param {(seq: number) => string} linkTo  The URL of an event.
 */
export function diffView(difference, linkTo) {
  const changes = difference.changes.filter((change) => !ALWAYS.includes(change.path));
  if (!changes.length) return [el("p", { class: "hint" }, "No field changed.")];
  return [el("ul", { class: "changes" }, changes.map((change) => el("li", { class: `change change-${change.kind}`, data: { path: change.path } },
    el("span", { class: "change-head" },
      el("code", { class: "change-path" }, pathText(change.path)), el("span", { class: "change-kind" }, change.kind),
      change.by ? el("a", { class: "change-by", href: linkTo(change.by.seq), title: change.by.type }, `#${change.by.seq}`) : null),
    values(change))))];
}

/** @param {Api.FieldChange} change */
function values({ kind, before, after }) {
  if (typeof before === "string" && typeof after === "string" && before && after.startsWith(before)) {
    return el("span", { class: "change-values" }, el("ins", {}, `…${oneLine(after.slice(before.length), 400)}`));
  }
  return el("span", { class: "change-values" },
    kind === "added" ? null : el("del", {}, text(before)), kind === "removed" ? null : el("ins", {}, text(after)));
}

/** @param {unknown} value */
function text(value) {
  if (value === "") return "“”";
  return typeof value === "string" ? oneLine(value, 400) : oneLine(JSON.stringify(value), 400);
}

/** @param {string} pointer */
function pathText(pointer) {
  return pointer.split("/").slice(1).map((part) => part.replaceAll("~1", "/").replaceAll("~0", "~")).join(" › ");
}
