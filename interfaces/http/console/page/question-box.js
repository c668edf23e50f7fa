// @ts-check
// A question of an agent, with a form to answer it.
import { command, messageOf } from "./api.js";
import { el, fill, icon } from "./dom.js";
import { ago, oneLine } from "./format.js";

/** @typedef {Pick<Api.HumanLoopRequest, "questionId" | "prompt" | "status">} QuestionCore */
/** @typedef {Partial<Pick<Api.HumanLoopRequest, "kind" | "answer" | "reason" | "expiresAt" | "requestedAt">>} QuestionDetails */
/** @typedef {QuestionCore & QuestionDetails & { options: EventPayloads.Option[], by?: string }} Question */

let boxes = 0;

/**
 * The box of a run's question. Create it once; the returned `update` shows the question's current state and keeps what the
 * user is typing.
 * @param {string} runId
 * @param {{ linked?: boolean }} options  linked: show a link to the run.
 */
export function questionBox(runId, { linked = false } = {}) {
  boxes += 1;
  const id = `question-${boxes}`;
  const title = el("p", { class: "question-prompt", id });
  const note = el("p", { class: "soft", role: "status" });
  const body = el("div", {});
  const kind = el("span", { class: "question-kind" }), when = el("span", { class: "question-when soft" });
  const box = el("section", { class: "question", "aria-labelledby": id },
    el("div", { class: "question-head" }, icon("waiting"), kind, linked ? el("a", { href: `#/runs/${encodeURIComponent(runId)}` }, runId) : null, when),
    title, body, note);
  let hasForm = false;

  /** @param {boolean} disabled */
  function disable(disabled) {
    /** @type {NodeListOf<HTMLButtonElement | HTMLInputElement>} */
    const controls = body.querySelectorAll("button, input");
    for (const control of controls) control.disabled = disabled;
  }

  /**
   * @param {Question} question
   * @param {string} answer
   */
  async function send(question, answer) {
    disable(true);
    note.textContent = "Sending …";
    try {
      /** @type {Api.Replied} */
      const replied = await command("api/human-loop/reply", { runId, questionId: question.questionId, answer }, { waitMs: 5000 });
      note.textContent = replied.duplicate ? `Somebody was faster: ${oneLine(replied.answer)}` : "Sent.";
    } catch (error) {
      note.textContent = `Not sent: ${messageOf(error)}`;
      disable(false);
    }
  }

  /** @param {Question} question */
  function form(question) {
    const input = el("input", { type: "text", id: `${id}-answer`, autocomplete: "off", placeholder: question.options.length ? "or something else" : "Your answer", "aria-label": `Answer: ${oneLine(question.prompt)}` });
    const options = question.options.map((option) => el("button", { type: "button", class: "option", on: { click: () => send(question, option.label) } },
      el("span", { class: "option-label" }, option.label), option.description ? el("span", { class: "option-says" }, option.description) : null));
    return [
      options.length ? el("div", { class: "options", role: "group", "aria-labelledby": id }, options) : null,
      el("form", { class: "answer", on: { submit: (event) => { event.preventDefault(); if (input.value.trim()) send(question, input.value); else input.focus(); } } }, input, el("button", { class: "primary" }, "Send")),
    ];
  }

  /** @param {Question} question */
  function endedView({ answer, status, reason, by }) {
    const said = answer === null || answer === undefined ? "" : typeof answer === "string" ? answer : JSON.stringify(answer);
    const labels = { open: "Open", answering: "On its way to the agent", resolved: "Answered", canceled: "Canceled", expired: "Nobody answered" };
    return el("p", { class: "answered" }, el("strong", {}, labels[status]), said ? [": ", el("q", {}, said)] : null,
      reason ? el("span", { class: "soft" }, ` ${reason}`) : null, by ? el("span", { class: "soft" }, ` by ${by}`) : null);
  }

  /**
   * @param {Question} question
   * @param {{ past?: boolean }} options  past: it is shown as it was; there is nothing to answer.
   */
  function update(question, { past = false } = {}) {
    const answerable = question.status === "open" && !past;
    box.dataset.status = question.status;
    box.dataset.question = question.questionId;
    title.textContent = question.prompt || "The agent asks for an answer.";
    kind.textContent = question.kind === "permission" ? "Permission" : "Question";
    fill(when, question.expiresAt && question.status === "open" ? ["open until ", new Date(question.expiresAt).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" })] : question.requestedAt ? ago(question.requestedAt) : null);
    if (hasForm && answerable) return;
    hasForm = answerable;
    const hadFocus = body.contains(document.activeElement);
    fill(body, answerable ? form(question) : endedView(question));
    if (!answerable) note.textContent = "";
    if (hadFocus) { box.setAttribute("tabindex", "-1"); box.focus(); }
  }

  return { box, update };
}
