// What changed between two points, field by field, and by which event.
import { el } from "./dom.js";
import { brief } from "./words.js";

const ALWAYS = ["/seq", "/position", "/updatedAt"];

/** The elements of a `Difference` of the API; `linkTo(seq)` is the address of an event. */
export function diffView(difference, linkTo) {
  const changes = difference.changes.filter((change) => !ALWAYS.includes(change.path));
  if (!changes.length) return [el("p", { class: "hint" }, "No field changed.")];
  return [el("ul", { class: "changes" }, changes.map((change) => el("li", { class: `change change-${change.kind}`, data: { path: change.path } },
    el("span", { class: "change-head" },
      el("code", { class: "change-path" }, pathText(change.path)), el("span", { class: "change-kind" }, change.kind),
      change.by ? el("a", { class: "change-by", href: linkTo(change.by.seq), title: change.by.type }, `#${change.by.seq}`) : null),
    values(change))))];
}

function values({ kind, before, after }) {
  if (typeof before === "string" && typeof after === "string" && before && after.startsWith(before)) {
    return el("span", { class: "change-values" }, el("ins", {}, `…${brief(after.slice(before.length), 400)}`));
  }
  return el("span", { class: "change-values" },
    kind === "added" ? null : el("del", {}, text(before)), kind === "removed" ? null : el("ins", {}, text(after)));
}

function text(value) {
  if (value === "") return "“”";
  return typeof value === "string" ? brief(value, 400) : brief(JSON.stringify(value), 400);
}

function pathText(pointer) {
  return pointer.split("/").slice(1).map((part) => part.replaceAll("~1", "/").replaceAll("~0", "~")).join(" › ");
}
