// @ts-check
// The entry point: routing by the URL's fragment, the sidebar, keyboard shortcuts.
import { ApiError, forgetKey, isAborted, messageOf, onKeyRequired } from "./api.js";
import { askForKey, showShortcuts } from "./dialogs.js";
import { byId, el, fill } from "./dom.js";
import { refreshTimes } from "./format.js";
import { HistoryPage } from "./history-page.js";
import { HomePage } from "./home-page.js";
import { onShortcuts } from "./keys.js";
import { PendingQuestions } from "./pending.js";
import { Sidebar } from "./sidebar.js";
import { WhyPage } from "./why-page.js";

const main = byId("main");
const frame = byId("frame");
const connection = byId("connection");
const CONNECTION_TEXTS = { connecting: "Connecting", live: "Live", waiting: "Reconnecting" };
/** @type {HistoryPage | HomePage | WhyPage | null} */
let page = null;

const forget = byId("forget-key");
forget.addEventListener("click", () => { forgetKey(); location.reload(); });
onKeyRequired(askForKey, () => { forget.hidden = false; });
const pending = new PendingQuestions((count) => { document.title = count ? `(${count}) Fleetlog` : "Fleetlog"; });
const sidebar = new Sidebar(byId("side"), {
  onEvents: (events) => { pending.receive(events); if (page instanceof HomePage) page.receive(events); },
  onState: (state) => {
    if (connection.dataset.state === state) return;
    connection.dataset.state = state;
    connection.textContent = CONNECTION_TEXTS[state];
  },
});

/** The URL's fragment, such as `#/runs/r1?seq=12`, as path parts and query. */
function route() {
  const [path, query] = location.hash.replace(/^#\/?/, "").split("?");
  const parts = path.split("/").filter(Boolean).map((part) => { try { return decodeURIComponent(part); } catch { return part; } });
  return { parts, query: new URLSearchParams(query ?? "") };
}

/**
 * @param {string[]} parts
 * @param {URLSearchParams} query
 * @param {typeof page} before
 */
function createPage(parts, query, before) {
  const [kind, id] = parts;
  // Coming back from a why page, focus the block that it was opened from.
  if ((kind === "runs" || kind === "sessions") && id) return new HistoryPage(main, { kind: kind === "runs" ? "run" : "session", id, query, focusAt: before instanceof WhyPage ? before.position : null });
  if (kind === "events" && /^\d{1,18}$/.test(id ?? "")) return new WhyPage(main, Number(id), before instanceof HistoryPage ? before.address : "");
  return new HomePage(main, pending);
}

/** @param {{ focus: boolean }} options */
async function navigate({ focus }) {
  const { parts, query } = route();
  const [kind, id] = parts;
  frame.dataset.view = id ? "detail" : kind ? "list" : "home";
  if (page && !(page instanceof WhyPage) && page.tryNavigate(parts, query)) return;
  const before = page;
  page?.close();
  sidebar.select(kind === "events" ? "" : id ?? "");
  const listKind = kind === "sessions" ? "sessions" : kind === "runs" || !sidebar.kind ? "runs" : sidebar.kind;
  fill(main);
  main.removeAttribute("aria-busy");
  page = createPage(parts, query, before);
  if (listKind !== sidebar.kind) sidebar.open(listKind).catch(showError);
  page.ready.catch(showError);
  if (!focus || !id) return;
  await page.ready.catch(() => {});
  if (!main.contains(document.activeElement) || document.activeElement === main) main.querySelector("h1")?.focus();
}

/** @param {unknown} error */
function showError(error) {
  if (isAborted(error)) return;
  fill(main, el("section", { class: "page" }, el("h1", { tabindex: "-1" }, error instanceof ApiError && error.status === 404 ? "Not found" : "This did not work"),
    el("p", { class: "wrong", role: "alert" }, messageOf(error)), el("p", {}, el("a", { href: "#/" }, "To the beginning"))));
}

addEventListener("hashchange", () => navigate({ focus: true }));
byId("skip").addEventListener("click", (event) => { event.preventDefault(); main.focus(); });
byId("help-button").addEventListener("click", showShortcuts);
onShortcuts({
  "?": showShortcuts,
  "[": () => page instanceof HistoryPage && page.step(-1),
  "]": () => page instanceof HistoryPage && page.step(1),
  l: () => page instanceof HistoryPage && page.toLive(),
  Escape: () => page instanceof WhyPage && page.leave(),
});
setInterval(refreshTimes, 5000);
pending.load().catch(() => {});
navigate({ focus: false });
