// @ts-check
// The texts of events of runs and sessions, as the timeline shows them.
import { bytes, money, number, oneLine } from "./format.js";

/** @typedef {"" | "active" | "waiting" | "succeeded" | "failed" | "canceled"} Tone */
/** @typedef {[title: string, detail?: string, tone?: Tone]} EventText */

const PHASES = { restoring: "Restoring the workspace", linking: "Linking agent data", preparing: "Preparing" };
const OUTCOMES = { succeeded: "Succeeded", failed: "Failed", canceled: "Canceled" };
const WAITED_FOR = { person: "a person answers", place: "a place for its session worker is free", session: "its session is ready" };
const NOT_SHOWN = ["leaseGeneration", "generation", "syncId"];

/**
 * Title, detail and tone of an event.
 * @param {LogEvent} event
 * @returns {EventText}
 */
export function eventText(event) {
  const by = `by ${event.metadata.actor}`;
  switch (event.type) {
    case "run.queued": return ["Queued", by];
    case "run.bound": return ["Bound to a session", event.payload.boundSessionId];
    case "run.blocked": return ["Blocked", event.payload.reason, "failed"];
    case "run.warning": return ["Warning", event.payload.warning.message, "waiting"];
    case "run.claimed": return [event.payload.wasParked ? "Taken up again" : event.payload.resumed ? "Taken over" : "Claimed", `attempt ${event.payload.attempt} by ${event.payload.owner}`];
    case "run.lease_lost": return ["Lease lost", event.payload.owner, "waiting"];
    case "run.parked": return ["Parked", `until ${WAITED_FOR[event.payload.waitsFor]}`, "waiting"];
    case "run.retry_scheduled": return ["Tried again later", event.payload.error.message, "waiting"];
    case "run.phase": return [PHASES[event.payload.phase] ?? event.payload.phase];
    case "run.conversation_carried": return [`Conversation ${event.payload.how === "resumed" ? "resumed" : "replayed"}`, `of ${event.payload.originRunId}, up to seq ${event.payload.originSeq}`];
    case "run.started": return ["Agent started", `generation ${event.payload.generation}`, "active"];
    case "run.cancel_requested": return ["Cancel requested", [by, event.payload.reason].filter(Boolean).join(": "), "waiting"];
    case "run.timed_out": return ["Timed out", `${event.payload.what}: ${event.payload.limitMs / 1000} s`, "failed"];
    case "run.aborted": return ["Aborted", event.payload.error.message, "failed"];
    case "run.quota_exceeded": return ["Over a quota", `${event.payload.quota.replaceAll("_", " ")}: ${number(event.payload.reached)} of ${number(event.payload.limit)}`, "failed"];
    case "run.tail_lost": return ["Tail lost", event.payload.reason, "failed"];
    case "run.agent_finished": return [`Agent ${event.payload.outcome}`, [event.payload.error?.message, usageSummary(event.payload.usage)].filter(Boolean).join(" · ")];
    case "run.syncing": return ["Syncing the workspace"];
    case "run.exported": return ["Workspace stored"];
    case "run.finished": return [OUTCOMES[event.payload.outcome], event.payload.error?.message ?? "", event.payload.outcome];
    case "session.activation_requested": return ["Activation requested", `generation ${event.payload.generation}, ${event.payload.kind === "start" ? "its stopped container" : "a new container"}, ${by}`];
    case "session.container_created": return ["Container created", `${event.payload.runtime} ${event.payload.containerId.slice(0, 20)}`];
    case "session.container_started": return ["Container started", event.payload.purpose && event.payload.purpose !== "activation" ? event.payload.purpose : ""];
    case "session.workspace_restored": return ["Workspace restored", event.payload.files ? `${number(event.payload.files)} files, ${bytes(event.payload.bytes ?? 0)}` : "empty"];
    case "session.sync_requested": return ["Sync requested", event.payload.reason];
    case "session.activated": return ["Activated", event.payload.action.replaceAll("_", " "), "succeeded"];
    case "session.activation_failed": return ["Activation failed", `${event.payload.step}: ${event.payload.error}`, "failed"];
    case "session.disk_limit_exceeded": return ["Disk limit exceeded", `${bytes(event.payload.usedBytes)} of ${bytes(event.payload.limitBytes)}: it is synced and stopped`, "failed"];
    case "session.run_attached": return ["Run attached", event.payload.attachedRunId, "active"];
    case "session.run_detached": return ["Run detached", event.payload.detachedRunId];
    case "session.titled": return ["Titled", event.payload.title];
    case "session.forked": return ["Forked", `from ${event.payload.origin.runId} at seq ${event.payload.origin.atSeq}`];
    case "session.workspace_copied": return ["Files copied", `${number(event.payload.files)} files`, "succeeded"];
    case "session.fork_failed": return ["Fork failed", event.payload.error, "failed"];
    case "session.synced": return ["Synced", `${event.payload.reason}, ${event.payload.unchanged ? "unchanged" : `${number(event.payload.files ?? 0)} files, ${bytes(event.payload.uploadedBytes ?? 0)} stored`}`, "succeeded"];
    case "session.sync_failed": return ["Sync failed", `${event.payload.reason}: ${event.payload.error}`, "failed"];
    case "session.workspace_discarded": return ["Workspace discarded", `${by}: ${event.payload.reason}`, "failed"];
    case "session.container_lost": return ["Container lost", event.payload.detail, "failed"];
    default: return defaultText(event);
  }
}

/**
 * For an event type without its own text: its name and its scalar fields.
 * @param {LogEvent} event
 * @returns {EventText}
 */
function defaultText({ type, payload }) {
  const name = type.slice(type.lastIndexOf(".") + 1).replaceAll("_", " ");
  const facts = Object.entries(payload ?? {}).filter(([field, value]) => !NOT_SHOWN.includes(field) && ["string", "number", "boolean"].includes(typeof value) && value !== "");
  return [name.charAt(0).toUpperCase() + name.slice(1), oneLine(facts.map(([field, value]) => `${field} ${value}`).join(", "), 120)];
}

/** @param {EventPayloads.Usage | undefined} usage */
function usageSummary(usage) {
  const tokens = (usage?.inputTokens ?? 0) + (usage?.outputTokens ?? 0);
  return [tokens ? `${number(tokens)} tokens` : "", money(usage?.costUsd)].filter(Boolean).join(", ");
}
