// @ts-check
// The home page: open questions, and usage by provider.
import { get } from "./api.js";
import { el, fill, throttled } from "./dom.js";
import { money, number } from "./format.js";
import { questionBox } from "./question-box.js";

/** @import { PendingQuestions } from "./pending.js" */
/** @typedef {{ runs: number, inputTokens: number, outputTokens: number, costUsd: number | null }} Amounts */
/** @typedef {{ groups: (Amounts & { provider: string })[], total: Amounts }} UsageByProvider */

export class HomePage {
  /**
   * @param {HTMLElement} main
   * @param {PendingQuestions} pending
   */
  constructor(main, pending) {
    this.pending = pending;
    this.stopping = new AbortController();
    /** @type {Map<string, ReturnType<typeof questionBox>>} */
    this.boxes = new Map();
    this.list = el("div", { class: "questions" });
    this.none = el("p", { class: "hint" }, "Loading …");
    this.usage = el("div", {});
    main.append(el("section", { class: "page" },
      el("h1", { tabindex: "-1" }, "Waiting for you"), this.none, this.list,
      el("h2", {}, "Usage"), this.usage));
    pending.onChange = () => this.show();
    this.catchUp = throttled(() => this.showUsage(), 2000);
    if (pending.loaded) this.show();
    this.ready = this.showUsage();
  }

  close() {
    this.pending.onChange = () => {};
    this.stopping.abort();
  }

  /** @param {string[]} parts  Of a route; returns whether this page shows it. */
  tryNavigate(parts) { return parts.length < 2 && !(parts[0] === "events"); }

  /** @param {LogEvent[]} events */
  receive(events) { if (events.some((event) => event.type === "run.finished")) this.catchUp(); }

  show() {
    const { requests, total } = this.pending;
    this.none.hidden = total > 0;
    this.none.textContent = "No agent waits for an answer.";
    const keys = new Set();
    for (const request of requests) {
      const key = `${request.runId} ${request.questionId} ${request.position}`;
      keys.add(key);
      let made = this.boxes.get(key);
      if (!made) {
        made = questionBox(request.runId, { linked: true });
        this.boxes.set(key, made);
        this.list.append(made.box);
      }
      made.update(request);
    }
    for (const [key, made] of this.boxes) if (!keys.has(key)) { made.box.remove(); this.boxes.delete(key); }
  }

  async showUsage() {
    /** @type {UsageByProvider} */
    const report = await get("api/usage", { groupBy: "provider" }, this.stopping.signal);
    /** @type {(name: string, group: Amounts) => HTMLElement} */
    const row = (name, group) => el("tr", {}, el("th", { scope: "row" }, name), el("td", {}, number(group.runs)), el("td", {}, number(group.inputTokens)), el("td", {}, number(group.outputTokens)), el("td", {}, money(group.costUsd) || "–"));
    if (!report.groups.length) { fill(this.usage, el("p", { class: "hint" }, "No run has ended yet.")); return; }
    fill(this.usage, el("table", { class: "usage" },
      el("thead", {}, el("tr", {}, ["Provider", "Runs", "Tokens in", "Tokens out", "Cost"].map((name) => el("th", { scope: "col" }, name)))),
      el("tbody", {}, report.groups.map((group) => row(group.provider || "outside", group))),
      report.groups.length > 1 ? el("tfoot", {}, row("All", report.total)) : null));
  }
}
