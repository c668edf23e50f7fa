// Why an event came to be, and all that it led to: a tree, from the command down.
import { get } from "./api.js";
import { el, icon } from "./dom.js";
import { Roving } from "./keys.js";
import { ago, duration, since, stateChip } from "./words.js";

const OPEN_BELOW = 2, SMALL = 6;
const ICONS = { command: "person", event: "event", events: "event", effect: "effect", lease: "box" };

export class WhyPage {
  constructor(main, position, back = "") {
    Object.assign(this, { position, back, stopping: new AbortController() });
    this.title = el("h1", { tabindex: "-1" }, `Why event ${position}?`);
    this.backLink = el("a", { class: "back", href: back || "#/" }, "‹ Back");
    this.tree = el("ul", { class: "tree", role: "tree", "aria-label": `Why event ${position}` });
    this.says = el("p", { class: "soft" }, "Loading …");
    main.append(el("section", { class: "page why" }, el("div", { class: "head-line" }, this.backLink, this.title), this.says, this.tree));
    this.roving = new Roving(this.tree, () => [...this.tree.querySelectorAll("[role=treeitem]")].filter((item) => item.offsetParent !== null), (event, item) => this.key(event, item));
    this.ready = this.load();
  }

  close() { this.stopping.abort(); }

  leave() { location.hash = this.backLink.getAttribute("href"); }

  async load() {
    const { tree } = await get(`api/events/${this.position}/why`, { minPosition: this.position }, this.stopping.signal);
    this.start = tree.at ?? tree.children[0]?.at;
    this.tree.append(this.item(tree, 1, 0));
    const asked = this.tree.querySelector("[data-asked]") ?? this.tree.firstElementChild;
    if (!this.back && asked.dataset.href) this.backLink.setAttribute("href", asked.dataset.href);
    this.says.textContent = "From the command that began it, down to this event and on to what it led to.";
    this.roving.settle(asked);
    asked.setAttribute("data-first", "");
    asked.scrollIntoView({ block: "center" });
    asked.focus();
  }

  item(node, level, below) {
    const children = node.children ?? [];
    const deep = node.asked ? 1 : below ? below + 1 : 0;
    const onPath = node.asked || leadsToAsked(node);
    const open = onPath || (deep > 0 && (deep <= OPEN_BELOW || children.length <= SMALL) && deep < 5);
    const label = el("div", { class: `node node-${node.kind}` }, children.length || node.more ? icon("chevron") : el("span", { class: "no-chevron" }), icon(ICONS[node.kind]), this.words(node));
    const item = el("li", { role: "treeitem", tabindex: "-1", "aria-level": level, "aria-expanded": children.length ? String(open) : null, data: { roving: "", href: hrefOf(node) } }, label);
    if (node.asked) { item.dataset.asked = ""; item.setAttribute("aria-current", "true"); }
    if (children.length || node.more) {
      item.append(el("ul", { role: "group" }, children.map((child) => this.item(child, level + 1, deep)), node.more ? el("li", { class: "soft more-nodes", role: "none" }, `and ${node.more} more`) : null));
    }
    label.addEventListener("click", (event) => { if (!event.target.closest("a")) { this.fold(item, item.getAttribute("aria-expanded") !== "true"); item.focus(); } });
    return item;
  }

  words(node) {
    const href = hrefOf(node);
    const name = { command: "Command", lease: "Execution under a lease" }[node.kind] ?? node.type;
    const tries = node.attempts?.length > 1 ? `${node.attempts.length} attempts` : "";
    const failed = node.attempts?.findLast((attempt) => attempt.error);
    return [
      el("span", { class: "node-name" }, name, node.count > 1 ? el("span", { class: "count" }, `× ${node.count}`) : null),
      node.kind === "effect" && node.state ? stateChip(node.state) : null,
      el("span", { class: "node-facts" }, [node.kind === "command" ? `by ${node.actor}` : "", tries].filter(Boolean).join(" · "),
        href ? el("a", { href, tabindex: "-1" }, `${node.stream} #${node.seq}`) : null,
        node.at && this.start ? el("span", { class: "soft", title: node.at }, node.kind === "command" ? ago(node.at) : `+${duration(since(node.at, this.start))}`) : null),
      failed?.error ? el("span", { class: "node-error" }, String(failed.error)) : null,
    ];
  }

  fold(item, open) {
    if (item.hasAttribute("aria-expanded")) item.setAttribute("aria-expanded", String(open));
  }

  key(event, item) {
    const open = item.getAttribute("aria-expanded");
    if (event.key === "ArrowRight") {
      if (open === "false") this.fold(item, true);
      else if (open === "true") item.querySelector("[role=treeitem]")?.focus();
    } else if (event.key === "ArrowLeft") {
      if (open === "true") this.fold(item, false);
      else item.parentElement.closest("[role=treeitem]")?.focus();
    } else if (event.key === "Enter" && item.dataset.href) location.hash = item.dataset.href;
    else return false;
    return true;
  }
}

function leadsToAsked(node) {
  return node.asked || (node.children ?? []).some(leadsToAsked);
}

function hrefOf(node) {
  const [kind, ...rest] = (node.stream ?? "").split(":");
  if (!node.seq || (kind !== "run" && kind !== "session")) return "";
  return `#/${kind}s/${encodeURIComponent(rest.join(":"))}?seq=${node.seq}`;
}
