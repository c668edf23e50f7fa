// Events folded into what people read: paragraphs, tool calls, todo changes, questions, and steps of the life.
import { brief, bytes, money, number } from "./words.js";

/**
 * The blocks of a stream. A block has `kind`, `from` and `to` (seqs), `position` (of its last event), `at` (time of its first) and:
 * text, thought: `text`, `channel`; tool: `name`, `input`, `output`, `ended`, `ok`, `durationMs`, `outputRef`; todos: `changes`;
 * question: `question`; step: `title`, `detail`, `tone`, `type`.
 */
export class Timeline {
  constructor() {
    this.blocks = [];
    this.tools = new Map();
    this.questions = new Map();
    this.todos = new Map();
  }

  /** Folds one event in; the block that it made or changed. */
  add(event) {
    const { type, payload } = event;
    const last = this.blocks.at(-1);
    switch (type) {
      case "message.delta":
        return this.piece(event, "text", payload.channel === "stderr" ? "stderr" : "stdout");
      case "reasoning.delta":
        return this.piece(event, "thought", "thought");
      case "message.stop":
        if (last?.kind === "text" && !last.closed) {
          if (payload.text && payload.text !== last.text) Object.assign(last, { text: payload.text, rewritten: true });
          last.closed = true;
          return extended(last, event);
        }
        if (payload.text) return this.push(event, { kind: "text", channel: "stdout", text: payload.text, closed: true });
        if (!last) return this.step(event, "Message ended");
        last.to = event.seq;
        return last;
      case "tool.start": {
        const block = this.push(event, { kind: "tool", name: payload.name, input: payload.input, ended: false, ok: true });
        this.tools.set(payload.toolId, block);
        return block;
      }
      case "tool.end": {
        const block = this.tools.get(payload.toolId) ?? this.push(event, { kind: "tool", name: payload.name || payload.toolId, ok: true });
        Object.assign(block, { ended: true, endSeq: event.seq, ok: payload.ok ?? true, output: payload.output, outputRef: payload.outputRef, durationMs: payload.durationMs ?? new Date(event.occurredAt) - new Date(block.at) });
        return block;
      }
      case "todo.update":
      case "todo.snapshot": {
        const changes = (type === "todo.update" ? [payload.todo] : payload.todos).filter((todo) => this.isNew(todo));
        if (!changes.length) return this.step(event, "Todos unchanged");
        if (last?.kind === "todos") { last.changes.push(...changes); return extended(last, event); }
        return this.push(event, { kind: "todos", changes });
      }
      case "human_loop.requested": {
        const question = { options: [], prompt: "", ...payload, status: "open", requestedAt: event.occurredAt };
        const block = this.push(event, { kind: "question", question });
        this.questions.set(payload.questionId, block);
        return block;
      }
      case "run.phase":
        if (last?.type === "run.claimed") {
          last.detail = [last.detail, told(event)[0].toLowerCase()].join(" · ");
          return extended(last, event);
        }
        return this.step(event, ...told(event));
      default:
        return type.startsWith("human_loop.") ? this.answered(event) : this.step(event, ...told(event));
    }
  }

  /** Whether an entry of a todo list is another than it was; agents send whole lists for one change. */
  isNew({ todoId, content, status = "todo" }) {
    const said = `${status} ${content}`, before = this.todos.get(todoId);
    this.todos.set(todoId, said);
    return said !== before;
  }

  answered(event) {
    const block = this.questions.get(event.payload.questionId);
    const status = { reply_accepted: "answering", resolved: "resolved", canceled: "canceled", expired: "expired" }[event.type.split(".")[1]];
    if (!block) return this.step(event, `Question ${status}`, brief(event.payload.answer ?? event.payload.reason ?? ""));
    const by = status === "answering" ? event.metadata.actor : block.question.by;
    block.question = { ...block.question, status, answer: event.payload.answer ?? block.question.answer, reason: event.payload.reason ?? "", by };
    block.endSeq = event.seq;
    return block;
  }

  piece(event, kind, channel) {
    const last = this.blocks.at(-1);
    if (last?.kind === kind && last.channel === channel && !last.closed) {
      last.text += event.payload.text;
      return extended(last, event);
    }
    return this.push(event, { kind, channel, text: event.payload.text });
  }

  step(event, title, detail = "", tone = "") {
    return this.push(event, { kind: "step", title, detail, tone, type: event.type });
  }

  push(event, block) {
    Object.assign(block, { from: event.seq, to: event.seq, position: event.position, at: event.occurredAt, version: 0 });
    this.blocks.push(block);
    return block;
  }
}

function extended(block, event) {
  block.to = event.seq;
  block.position = event.position;
  return block;
}

/** Title, detail and tone of an event of the life of a run or a session. */
function told({ type, payload, metadata }) {
  const p = payload;
  switch (type) {
    case "run.queued": return ["Queued", `by ${metadata.actor}`];
    case "run.bound": return ["Bound to a session", p.boundSessionId];
    case "run.blocked": return ["Blocked", p.reason, "failed"];
    case "run.warning": return ["Warning", p.warning.message, "waiting"];
    case "run.claimed": return [p.resumed ? "Taken over" : "Claimed", `attempt ${p.attempt} by ${p.owner}`];
    case "run.lease_lost": return ["Lease lost", p.owner, "waiting"];
    case "run.retry_scheduled": return ["Tried again later", p.error.message, "waiting"];
    case "run.phase": return [{ restoring: "Restoring the workspace", linking: "Linking agent data", preparing: "Preparing" }[p.phase] ?? p.phase];
    case "run.conversation_carried": return ["Conversation " + (p.how === "resumed" ? "resumed" : "told again"), `of ${p.originRunId}, up to seq ${p.originSeq}`];
    case "run.started": return ["Agent started", `generation ${p.generation}`, "active"];
    case "run.cancel_requested": return ["Cancel requested", [`by ${metadata.actor}`, p.reason].filter(Boolean).join(": "), "waiting"];
    case "run.timed_out": return ["Timed out", `${p.what}: ${p.limitMs / 1000} s`, "failed"];
    case "run.tail_lost": return ["Tail lost", p.reason, "failed"];
    case "run.agent_finished": return [`Agent ${p.outcome}`, [p.error?.message, used(p.usage)].filter(Boolean).join(" · ")];
    case "run.syncing": return ["Syncing the workspace"];
    case "run.exported": return ["Workspace stored"];
    case "run.finished": return [{ succeeded: "Succeeded", failed: "Failed", canceled: "Canceled" }[p.outcome], p.error?.message ?? "", p.outcome];
    case "session.activation_requested": return ["Activation requested", `generation ${p.generation}, ${p.kind === "start" ? "its stopped container" : "a new container"}, by ${metadata.actor}`];
    case "session.container_created": return ["Container created", `${p.runtime} ${p.containerId.slice(0, 20)}`];
    case "session.container_started": return ["Container started", p.purpose && p.purpose !== "activation" ? p.purpose : ""];
    case "session.workspace_restored": return ["Workspace restored", p.files ? `${number(p.files)} files, ${bytes(p.bytes ?? 0)}` : "empty"];
    case "session.sync_requested": return ["Sync requested", p.reason];
    case "session.activated": return ["Activated", (p.action ?? "").replaceAll("_", " "), "succeeded"];
    case "session.activation_failed": return ["Activation failed", `${p.step}: ${p.error}`, "failed"];
    case "session.run_attached": return ["Run attached", p.attachedRunId, "active"];
    case "session.run_detached": return ["Run detached", p.detachedRunId];
    case "session.forked": return ["Forked", `from ${p.origin.runId} at seq ${p.origin.atSeq}`];
    case "session.workspace_copied": return ["Files copied", `${number(p.files)} files`, "succeeded"];
    case "session.fork_failed": return ["Fork failed", p.error, "failed"];
    case "session.synced": return ["Synced", `${p.reason}, ${p.unchanged ? "unchanged" : `${number(p.files ?? 0)} files, ${bytes(p.uploadedBytes ?? 0)} stored`}`, "succeeded"];
    case "session.sync_failed": return ["Sync failed", `${p.reason}: ${p.error}`, "failed"];
    case "session.container_lost": return ["Container lost", p.detail, "failed"];
    default: {
      const [first, ...rest] = type.split(".").at(-1).replaceAll("_", " ");
      const facts = Object.entries(p ?? {}).filter(([name, value]) => !["leaseGeneration", "generation", "syncId"].includes(name) && ["string", "number", "boolean"].includes(typeof value) && value !== "");
      return [first.toUpperCase() + rest.join(""), brief(facts.map(([name, value]) => `${name} ${value}`).join(", "), 120)];
    }
  }
}

function used(usage) {
  const tokens = (usage?.inputTokens ?? 0) + (usage?.outputTokens ?? 0);
  return [tokens ? `${number(tokens)} tokens` : "", money(usage?.costUsd)].filter(Boolean).join(", ");
}
