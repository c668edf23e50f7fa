// @ts-check
// Folds events into the timeline's blocks: text, reasoning, tool calls, todo changes, questions, and lifecycle steps.
import { eventText } from "./event-text.js";
import { msBetween, oneLine } from "./format.js";

/** @import { EventText, Tone } from "./event-text.js" */
/** @import { Question } from "./question-box.js" */

/**
 * The events of a block: seqs `from` to `to`, the `position` of the last, the time `at` of the first. `endSeq`: the event that
 * ended it (a tool's or question's end), if that is not adjacent.
 * @typedef {{ from: number, to: number, position: number, at: string, endSeq?: number }} BlockRange
 */
/** @typedef {{ kind: "text", channel: "stdout" | "stderr", text: string, closed?: boolean, rewritten?: boolean }} TextContent */
/** @typedef {{ kind: "thought", text: string }} Thought */
/** @typedef {Pick<EventPayloads.ToolEnded, "output" | "outputRef">} ToolOutput */
/** @typedef {{ kind: "tool", name: string, input?: unknown, ended: boolean, ok: boolean, durationMs?: number } & ToolOutput} Tool */
/** @typedef {{ kind: "todos", changes: EventPayloads.Todo[] }} Todos */
/** @typedef {{ kind: "question", question: Question }} QuestionContent */
/** @typedef {{ kind: "step", title: string, detail: string, tone: Tone, type: LogEvent["type"] }} Step */
/** @typedef {TextContent | Thought | Tool | Todos | QuestionContent | Step} Content */
/** @typedef {BlockRange & Content} Block */

/** The blocks of a stream. */
export class Timeline {
  constructor() {
    /** @type {Block[]} */
    this.blocks = [];
    /** @type {Map<string, BlockRange & Tool>} */
    this.tools = new Map();
    /** @type {Map<string, BlockRange & QuestionContent>} */
    this.questions = new Map();
    /** @type {Map<string, string>} */
    this.todos = new Map();
  }

  /**
   * Fold one event; returns the block that was added or changed.
   * @param {LogEvent} event
   * @returns {Block}
   */
  add(event) {
    const last = this.blocks.at(-1);
    switch (event.type) {
      case "message.delta": {
        const { text } = event.payload, channel = event.payload.channel === "stderr" ? "stderr" : "stdout";
        if (last?.kind !== "text" || last.channel !== channel || last.closed) return this.push(event, /** @type {TextContent} */ ({ kind: "text", channel, text }));
        last.text += text;
        return extend(last, event);
      }
      case "reasoning.delta": {
        const { text } = event.payload;
        if (last?.kind !== "thought") return this.push(event, /** @type {Thought} */ ({ kind: "thought", text }));
        last.text += text;
        return extend(last, event);
      }
      case "message.stop": {
        const { text } = event.payload;
        if (last?.kind === "text" && !last.closed) {
          if (text && text !== last.text) Object.assign(last, { text, rewritten: true });
          last.closed = true;
          return extend(last, event);
        }
        if (text) return this.push(event, /** @type {TextContent} */ ({ kind: "text", channel: "stdout", text, closed: true }));
        if (!last) return this.step(event, ["Message ended"]);
        last.to = event.seq;
        return last;
      }
      case "tool.start": {
        const { toolId, name, input } = event.payload;
        const block = this.push(event, /** @type {Tool} */ ({ kind: "tool", name, input, ended: false, ok: true }));
        this.tools.set(toolId, block);
        return block;
      }
      case "tool.end": {
        const { toolId, name, ok, output, outputRef, durationMs } = event.payload;
        const block = this.tools.get(toolId) ?? this.push(event, /** @type {Tool} */ ({ kind: "tool", name: name || toolId, ended: true, ok: true }));
        return Object.assign(block, { ended: true, endSeq: event.seq, ok: ok ?? true, output, outputRef, durationMs: durationMs ?? msBetween(event.occurredAt, block.at) });
      }
      case "todo.update": return this.addTodos(event, [event.payload.todo]);
      case "todo.snapshot": return this.addTodos(event, event.payload.todos);
      case "human_loop.requested": {
        const { questionId, kind, prompt = "", options = [] } = event.payload;
        const block = this.push(event, /** @type {QuestionContent} */ ({ kind: "question", question: { questionId, kind, prompt, options, status: "open", requestedAt: event.occurredAt } }));
        this.questions.set(questionId, block);
        return block;
      }
      case "human_loop.reply_accepted": return this.updateQuestion(event, event.payload, "answering");
      case "human_loop.resolved": return this.updateQuestion(event, event.payload, "resolved");
      case "human_loop.canceled": return this.updateQuestion(event, event.payload, "canceled");
      case "human_loop.expired": return this.updateQuestion(event, event.payload, "expired");
      case "run.phase":
        if (last?.kind === "step" && last.type === "run.claimed") {
          last.detail = [last.detail, eventText(event)[0].toLowerCase()].join(" · ");
          return extend(last, event);
        }
        return this.step(event, eventText(event));
      default:
        return this.step(event, eventText(event));
    }
  }

  /**
   * @param {LogEvent} event
   * @param {EventPayloads.Todo[]} todos
   */
  addTodos(event, todos) {
    const changes = todos.filter((todo) => this.todoChanged(todo));
    if (!changes.length) return this.step(event, ["Todos unchanged"]);
    const last = this.blocks.at(-1);
    if (last?.kind !== "todos") return this.push(event, /** @type {Todos} */ ({ kind: "todos", changes }));
    last.changes.push(...changes);
    return extend(last, event);
  }

  /**
   * Whether a todo differs from its last version: agents send the whole list for one change.
   * @param {EventPayloads.Todo} todo
   */
  todoChanged({ todoId, content, status = "todo" }) {
    const now = `${status} ${content}`, before = this.todos.get(todoId);
    this.todos.set(todoId, now);
    return now !== before;
  }

  /**
   * @param {LogEvent} event
   * @param {{ questionId: string, answer?: unknown, reason?: string }} payload
   * @param {Question["status"]} status
   */
  updateQuestion(event, { questionId, answer, reason }, status) {
    const block = this.questions.get(questionId);
    if (!block) return this.step(event, [`Question ${status}`, oneLine(answer ?? reason ?? "")]);
    const by = status === "answering" ? event.metadata.actor : block.question.by;
    block.question = { ...block.question, status, answer: answer ?? block.question.answer, reason: reason ?? "", by };
    block.endSeq = event.seq;
    return block;
  }

  /**
   * @param {LogEvent} event
   * @param {EventText} text
   */
  step(event, [title, detail = "", tone = ""]) {
    return this.push(event, /** @type {Step} */ ({ kind: "step", title, detail, tone, type: event.type }));
  }

  /**
   * @template {Content} Made
   * @param {LogEvent} event
   * @param {Made} content
   */
  push(event, content) {
    const block = Object.assign(content, { from: event.seq, to: event.seq, position: event.position, at: event.occurredAt });
    this.blocks.push(block);
    return block;
  }
}

/**
 * @param {Block} block
 * @param {LogEvent} event
 */
function extend(block, event) {
  block.to = event.seq;
  block.position = event.position;
  return block;
}
