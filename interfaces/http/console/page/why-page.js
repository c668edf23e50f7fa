// @ts-check
// The causal tree of an event: from the command that led to it to all its consequences.
import { get } from "./api.js";
import { el, icon } from "./dom.js";
import { ago, duration, msBetween, stateChip } from "./format.js";
import { RovingTabindex } from "./keys.js";

const OPEN_BELOW = 2, SMALL = 6;
const ICONS = { command: "person", event: "event", events: "event", effect: "effect", lease: "box" };

export class WhyPage {
  /**
   * @param {HTMLElement} main
   * @param {number} position
   * @param {string} back  The URL to go back to; empty: the event's own stream.
   */
  constructor(main, position, back = "") {
    this.position = position;
    this.back = back;
    this.stopping = new AbortController();
    /** @type {string | null | undefined} */
    this.start = null;
    this.title = el("h1", { tabindex: "-1" }, `Why event ${position}?`);
    this.backLink = el("a", { class: "back", href: back || "#/" }, "‹ Back");
    this.tree = el("ul", { class: "tree", role: "tree", "aria-label": `Why event ${position}` });
    this.note = el("p", { class: "soft" }, "Loading …");
    main.append(el("section", { class: "page why" }, el("div", { class: "head-line" }, this.backLink, this.title), this.note, this.tree));
    this.roving = new RovingTabindex(this.tree, () => this.items().filter((item) => item.offsetParent !== null), (event, item) => this.key(event, item));
    this.ready = this.load();
  }

  close() { this.stopping.abort(); }

  leave() { location.hash = this.backLink.hash; }

  items() { return [.../** @type {NodeListOf<HTMLElement>} */ (this.tree.querySelectorAll("[role=treeitem]"))]; }

  async load() {
    /** @type {Api.Why} */
    const { tree } = await get(`api/events/${this.position}/why`, { minPosition: this.position }, this.stopping.signal);
    this.start = tree.at ?? tree.children?.[0]?.at;
    this.tree.append(this.item(tree, 1, 0));
    const [first, ...others] = this.items();
    const asked = others.find((item) => item.dataset.asked !== undefined) ?? first;
    if (!this.back && asked.dataset.href) this.backLink.setAttribute("href", asked.dataset.href);
    this.note.textContent = "From the command that began it, down to this event and on to what it led to.";
    this.roving.ensureCurrent(asked);
    asked.setAttribute("data-first", "");
    asked.scrollIntoView({ block: "center" });
    asked.focus();
  }

  /**
   * @param {Api.WhyNode} node
   * @param {number} level
   * @param {number} below  The depth below the requested event; 0: not below it.
   * @returns {HTMLElement}
   */
  item(node, level, below) {
    const children = node.children ?? [];
    const deep = node.asked ? 1 : below ? below + 1 : 0;
    const onPath = node.asked || leadsToAsked(node);
    const open = onPath || (deep > 0 && (deep <= OPEN_BELOW || children.length <= SMALL) && deep < 5);
    const label = el("div", { class: `node node-${node.kind}` }, children.length || node.more ? icon("chevron") : el("span", { class: "no-chevron" }), icon(ICONS[node.kind]), this.texts(node));
    const item = el("li", { role: "treeitem", tabindex: "-1", "aria-level": level, "aria-expanded": children.length ? String(open) : null, data: { roving: "", href: hrefOf(node) } }, label);
    if (node.asked) { item.dataset.asked = ""; item.setAttribute("aria-current", "true"); }
    if (children.length || node.more) {
      item.append(el("ul", { role: "group" }, children.map((child) => this.item(child, level + 1, deep)), node.more ? el("li", { class: "soft more-nodes", role: "none" }, `and ${node.more} more`) : null));
    }
    label.addEventListener("click", (event) => { if (!(event.target instanceof Element && event.target.closest("a"))) { this.fold(item, item.getAttribute("aria-expanded") !== "true"); item.focus(); } });
    return item;
  }

  /** @param {Api.WhyNode} node */
  texts(node) {
    const href = hrefOf(node);
    const name = node.kind === "command" ? "Command" : node.kind === "lease" ? "Execution under a lease" : node.type;
    const attempts = node.attempts ?? [], count = node.count ?? 1;
    const tries = attempts.length > 1 ? `${attempts.length} attempts` : "";
    const failed = attempts.findLast((attempt) => attempt.error);
    return [
      el("span", { class: "node-name" }, name, count > 1 ? el("span", { class: "count" }, `× ${count}`) : null),
      node.kind === "effect" && node.state ? stateChip(node.state) : null,
      el("span", { class: "node-facts" }, [node.kind === "command" ? `by ${node.actor}` : "", tries].filter(Boolean).join(" · "),
        href ? el("a", { href, tabindex: "-1" }, `${node.stream} #${node.seq}`) : null,
        node.at && this.start ? el("span", { class: "soft", title: node.at }, node.kind === "command" ? ago(node.at) : `+${duration(msBetween(node.at, this.start))}`) : null),
      failed?.error ? el("span", { class: "node-error" }, String(failed.error)) : null,
    ];
  }

  /**
   * @param {HTMLElement} item
   * @param {boolean} open
   */
  fold(item, open) {
    if (item.hasAttribute("aria-expanded")) item.setAttribute("aria-expanded", String(open));
  }

  /**
   * @param {KeyboardEvent} event
   * @param {HTMLElement} item
   */
  key(event, item) {
    const open = item.getAttribute("aria-expanded");
    if (event.key === "ArrowRight") {
      if (open === "false") this.fold(item, true);
      else if (open === "true") focus(item.querySelector("[role=treeitem]"));
    } else if (event.key === "ArrowLeft") {
      if (open === "true") this.fold(item, false);
      else focus(item.parentElement?.closest("[role=treeitem]"));
    } else if (event.key === "Enter" && item.dataset.href) location.hash = item.dataset.href;
    else return false;
    return true;
  }
}

/** @param {Element | null | undefined} item */
function focus(item) {
  if (item instanceof HTMLElement) item.focus();
}

/**
 * @param {Api.WhyNode} node
 * @returns {boolean}
 */
function leadsToAsked(node) {
  return Boolean(node.asked) || (node.children ?? []).some(leadsToAsked);
}

/** @param {Api.WhyNode} node */
function hrefOf(node) {
  const [kind, ...rest] = (node.stream ?? "").split(":");
  if (!node.seq || (kind !== "run" && kind !== "session")) return "";
  return `#/${kind}s/${encodeURIComponent(rest.join(":"))}?seq=${node.seq}`;
}
