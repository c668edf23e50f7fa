// @ts-check
// The open questions of all runs.
import { get } from "./api.js";
import { announce, throttled } from "./dom.js";

export class PendingQuestions {
  /** @param {(count: number) => void} onCount  Called with their number. */
  constructor(onCount) {
    this.onCount = onCount;
    /** Set by the page that shows them. */
    this.onChange = () => {};
    this.total = 0;
    /** @type {Api.HumanLoopRequest[]} */
    this.requests = [];
    this.position = 0;
    this.loaded = false;
    this.catchUp = throttled(() => this.load(), 250);
  }

  /** @param {LogEvent[]} events */
  receive(events) {
    for (const event of events) if (event.type === "human_loop.requested") announce(`Run ${event.stream.slice(4)} asks: ${event.payload.prompt ?? ""}`);
    const last = events.findLast((event) => event.type.startsWith("human_loop.") || event.type === "run.finished");
    if (!last) return;
    this.position = last.position;
    this.catchUp();
  }

  async load() {
    /** @type {Api.HumanLoopRequests} */
    const answer = await get("api/human-loop/pending", { limit: 50, minPosition: this.position || undefined });
    this.requests = answer.requests.filter((request) => request.status === "open");
    this.total = answer.total - (answer.requests.length - this.requests.length);
    this.loaded = true;
    this.onCount(this.total);
    this.onChange();
  }
}
