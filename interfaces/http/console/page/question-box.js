// A question of an agent, with a box to answer it.
import { command } from "./api.js";
import { el, fill, icon } from "./dom.js";
import { ago, brief } from "./words.js";

let boxes = 0;

/**
 * The box of a question: `{questionId, kind, prompt, options, status, answer, reason}` of a run. It is made once; `update`
 * of what is returned shows the question as it has become, without taking away what a person is typing.
 */
export function questionBox(runId, { linked = false } = {}) {
  const id = `question-${(boxes += 1)}`;
  const title = el("p", { class: "question-prompt", id });
  const note = el("p", { class: "soft", role: "status" });
  const body = el("div", {});
  const box = el("section", { class: "question", "aria-labelledby": id },
    el("div", { class: "question-head" }, icon("waiting"), el("span", { class: "question-kind" }), linked ? el("a", { href: `#/runs/${encodeURIComponent(runId)}` }, runId) : null, el("span", { class: "question-when soft" })),
    title, body, note);
  let shownStatus = "";
  let question = null;

  async function send(answer) {
    for (const control of body.querySelectorAll("button, input")) control.disabled = true;
    note.textContent = "Sending …";
    try {
      const replied = await command("api/human-loop/reply", { runId, questionId: question.questionId, answer }, { waitMs: 5000 });
      note.textContent = replied.duplicate ? `Somebody was faster: ${brief(replied.answer)}` : "Sent.";
    } catch (error) {
      note.textContent = `Not sent: ${error.message}`;
      for (const control of body.querySelectorAll("button, input")) control.disabled = false;
    }
  }

  function form() {
    const input = el("input", { type: "text", id: `${id}-answer`, autocomplete: "off", placeholder: question.options?.length ? "or something else" : "Your answer", "aria-label": `Answer: ${brief(question.prompt)}` });
    const options = (question.options ?? []).map((option) => el("button", { type: "button", class: "option", on: { click: () => send(option.label) } },
      el("span", { class: "option-label" }, option.label), option.description ? el("span", { class: "option-says" }, option.description) : null));
    return [
      options.length ? el("div", { class: "options", role: "group", "aria-labelledby": id }, options) : null,
      el("form", { class: "answer", on: { submit: (event) => { event.preventDefault(); if (input.value.trim()) send(input.value); else input.focus(); } } }, input, el("button", { class: "primary" }, "Send")),
    ];
  }

  function ended() {
    const said = question.answer === null || question.answer === undefined ? "" : typeof question.answer === "string" ? question.answer : JSON.stringify(question.answer);
    const words = { answering: "On its way to the agent", resolved: "Answered", canceled: "Canceled", expired: "Nobody answered" };
    return el("p", { class: "answered" }, el("strong", {}, words[question.status] ?? question.status), said ? [": ", el("q", {}, said)] : null,
      question.reason ? el("span", { class: "soft" }, ` ${question.reason}`) : null, question.by ? el("span", { class: "soft" }, ` by ${question.by}`) : null);
  }

  function update(next) {
    question = next;
    box.dataset.status = question.status;
    box.dataset.question = question.questionId;
    title.textContent = question.prompt || "The agent asks for an answer.";
    box.querySelector(".question-kind").textContent = question.kind === "permission" ? "Permission" : "Question";
    fill(box.querySelector(".question-when"), question.expiresAt && question.status === "open" ? ["open until ", new Date(question.expiresAt).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" })] : question.requestedAt ? ago(question.requestedAt) : null);
    if (shownStatus === question.status && shownStatus === "open") return;
    shownStatus = question.status;
    const hadFocus = body.contains(document.activeElement);
    fill(body, question.status === "open" ? form() : ended());
    if (question.status !== "open") note.textContent = "";
    if (hadFocus) { box.setAttribute("tabindex", "-1"); box.focus(); }
  }

  return { box, update };
}
