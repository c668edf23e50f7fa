// The page's beginning: routes in the address after #, the side, the shortcuts.
import { forgetKey, hasKey, onKeyWanted } from "./api.js";
import { askForKey, showShortcuts } from "./dialogs.js";
import { el, fill } from "./dom.js";
import { HistoryPage } from "./history-page.js";
import { HomePage } from "./home-page.js";
import { onShortcuts } from "./keys.js";
import { PendingQuestions } from "./pending.js";
import { Side } from "./side.js";
import { WhyPage } from "./why-page.js";
import { refreshTimes } from "./words.js";

const main = document.getElementById("main");
const frame = document.getElementById("frame");
const connection = document.getElementById("connection");
const STATES = { connecting: "Connecting", live: "Live", waiting: "Reconnecting" };
let page = null;

onKeyWanted(askForKey);
const pending = new PendingQuestions((count) => { document.title = count ? `(${count}) Fleetlog` : "Fleetlog"; });
const side = new Side(document.getElementById("side"), {
  onEvents: (events) => { pending.take(events); page?.hears?.(events); },
  onState: (state) => {
    if (connection.dataset.state === state) return;
    connection.dataset.state = state;
    connection.textContent = STATES[state];
  },
});

/** `#/runs/r1?seq=12` as its parts and its query. */
function route() {
  const [path, query] = location.hash.replace(/^#\/?/, "").split("?");
  const parts = path.split("/").filter(Boolean).map((part) => { try { return decodeURIComponent(part); } catch { return part; } });
  return { parts, query: new URLSearchParams(query ?? "") };
}

function shown(parts, query, before) {
  const [kind, id] = parts;
  // Back from why, the focus is where it was.
  if ((kind === "runs" || kind === "sessions") && id) return new HistoryPage(main, { kind: kind.slice(0, -1), id, query, focusAt: before instanceof WhyPage ? before.position : null });
  if (kind === "events" && /^\d{1,18}$/.test(id ?? "")) return new WhyPage(main, Number(id), before instanceof HistoryPage ? before.address : "");
  return new HomePage(main, pending);
}

async function go({ focus }) {
  const { parts, query } = route();
  const [kind, id] = parts;
  frame.dataset.view = id ? "detail" : kind ? "list" : "home";
  if (page?.stays?.(parts, query)) return;
  const before = page;
  page?.close?.();
  side.select(kind === "events" ? "" : id ?? "");
  const listKind = kind === "sessions" ? "sessions" : kind === "runs" || !side.kind ? "runs" : side.kind;
  fill(main);
  main.removeAttribute("aria-busy");
  page = shown(parts, query, before);
  if (listKind !== side.kind) side.open(listKind).catch(failed);
  page.ready?.catch(failed);
  if (!focus || !id) return;
  await page.ready?.catch(() => {});
  if (!main.contains(document.activeElement) || document.activeElement === main) main.querySelector("h1")?.focus();
}

function failed(error) {
  if (error.name === "AbortError") return;
  fill(main, el("section", { class: "page" }, el("h1", { tabindex: "-1" }, error.status === 404 ? "Not found" : "This did not work"),
    el("p", { class: "wrong", role: "alert" }, error.message), el("p", {}, el("a", { href: "#/" }, "To the beginning"))));
}

addEventListener("hashchange", () => go({ focus: true }));
document.getElementById("skip").addEventListener("click", (event) => { event.preventDefault(); main.focus(); });
document.getElementById("help-button").addEventListener("click", showShortcuts);
const forget = document.getElementById("forget-key");
forget.hidden = !hasKey();
forget.addEventListener("click", () => { forgetKey(); location.reload(); });
onShortcuts({
  "?": showShortcuts,
  "[": () => page?.step?.(-1) ?? false,
  "]": () => page?.step?.(1) ?? false,
  l: () => page?.toLive?.() ?? false,
  Escape: () => page?.leave?.() ?? false,
});
setInterval(refreshTimes, 5000);
pending.load().catch(() => {});
go({ focus: false });
