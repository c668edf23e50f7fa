// What a user of the older portal does, from naming a chat to reading it again; each step checks what the portal relies on.
import { Transport } from "./transport.mjs";

const SCRIPT = `
echo 'I begin.'
echo '::fleetlog {"type": "todo.update", "todo": {"todoId": "a", "content": "look"}}'
echo '::fleetlog {"type": "todo.snapshot", "todos": [{"todoId": "a", "content": "look", "status": "done"}, {"todoId": "b", "content": "do", "order": 1}]}'
echo '::fleetlog {"type": "nonsense"}'
echo '::fleetlog {"type": "question", "questionId": "q1", "prompt": "Go on?"}'
read answer
echo "You said $answer."
`;
const HISTORY = "/api/chat-opencode-history";

/** `names`: `{chatId, userId, projectName}`, new ones. Answers with the types of all stored frames of the first run. */
export async function journey({ base, key, names }) {
  const api = new Transport({ base, key });
  await namesAChat(api, names);
  const seen = await followsARun(api, names);
  await stopsARun(api, names);
  await readsTheChatAgain(api, names, seen);
  return seen.stored.map((frame) => frame.event);
}

async function namesAChat(api, { chatId, userId, projectName }) {
  const named = await api.post(HISTORY, { chatId, title: "A plan", userId, projectName });
  equal(named.chatId, chatId);
  const { items } = await until(() => api.get(HISTORY, { userId, projectName }), (list) => list.items.length === 1);
  equal([items[0].chatId, items[0].title], [chatId, "A plan"]);
  ok(!Number.isNaN(Date.parse(items[0].updatedAt)));
}

async function followsARun(api, names) {
  const seen = { runId: "", cursor: 0, stored: [], derived: [] };
  // Cut off right after it is accepted, before anything is activated: the frame has the run's id and a cursor.
  for await (const frame of api.start(body(names, SCRIPT, { interactive: true }))) {
    equal([frame.event, frame.data.status], ["run.status", "accepted"]);
    seen.runId = frame.data.runId;
    seen.cursor = Number(frame.id);
    break;
  }
  await follow(api, seen, (frame) => frame.event === "run.queued");
  await follow(api, seen, (frame) => frame.event === "todo.update");
  await follow(api, seen, (frame) => frame.event === "human_loop.requested");
  await readsTodos(api, seen);
  await answersTheQuestion(api, seen);
  await follow(api, seen, (frame) => frame.event === "run.closed");
  const last = seen.stored.at(-1);
  equal([last.event, last.data.outcome], ["run.finished", "succeeded"]);
  equal(seen.stored.map((frame) => Number(frame.id)), seen.stored.map((_, index) => index + 1));
  equal(statuses(seen), ["started", "finished"]);
  const texts = seen.stored.filter((frame) => frame.event === "message.delta").map((frame) => frame.data.text);
  equal(texts.join(""), "I begin.\nYou said yes.\n");
  const warning = seen.stored.find((frame) => frame.event === "run.warning").data;
  equal([typeof warning.warning, warning.code], ["string", "unknown_line"]);
  await endsOnce(api, seen);
  return seen;
}

/** What comes at the end of a run of which all is seen: the closing frames for a cursor, nothing for what a browser sends. */
async function endsOnce(api, seen) {
  const closing = [];
  for await (const frame of api.resume(seen.runId, seen.cursor)) closing.push(frame.event);
  equal(closing, ["run.status", "caught-up", "run.closed"]);
  const again = await api.fetch("GET", `/api/runs/${seen.runId}/stream`, {
    accept: "text/event-stream",
    headers: { "last-event-id": String(seen.cursor) },
  });
  equal(again.status, 204);
}

async function readsTodos(api, { runId, stored, derived }) {
  const updates = [...stored, ...derived].filter((frame) => frame.event === "todo.update");
  equal(updates.map(({ id, data: { todo } }) => [id !== "", todo.todoId, todo.status, todo.order]), [
    [true, "a", "todo", 0],
    [false, "a", "done", 0],
    [false, "b", "todo", 1],
  ]);
  const panel = await until(() => api.get(`/api/runs/${runId}/todos`, { limit: 1 }), (list) => list.total === 2);
  equal(panel.items.map(({ todoId, status, order }) => [todoId, status, order]), [["a", "done", 0]]);
  const { events } = await api.get(`/api/runs/${runId}/todos/events`, { limit: 50 });
  equal(events.map(({ status, content }) => [status, content]), [["todo", "look"], [null, null]]);
  ok(events.every(({ eventId, eventTs }) => eventId && !Number.isNaN(Date.parse(eventTs))));
}

async function answersTheQuestion(api, { runId }) {
  const open = { runId, limit: 20 };
  const isThere = (list) => list.requests.length === 1;
  const pending = await until(() => api.get("/api/human-loop/pending", open), isThere);
  const asked = await until(() => api.get("/api/human-loop/requests", { ...open, status: "pending" }), isThere);
  for (const [request] of [pending.requests, asked.requests]) {
    equal([request.questionId, request.prompt], ["q1", "Go on?"]);
    ok(Date.parse(request.metadata.deadlineAt) > Date.parse(request.requestedAt));
  }
  const replied = await api.post("/api/human-loop/reply", { runId, questionId: "q1", answer: "yes" });
  equal([replied.ok, replied.duplicate], [true, false]);
  const closed = await until(() => api.get("/api/human-loop/requests", { ...open, status: "resolved" }), isThere);
  equal(closed.requests[0].answer, "yes");
}

async function stopsARun(api, names) {
  const seen = { runId: "", cursor: 0, stored: [], derived: [] };
  for await (const frame of api.start(body(names, "echo waiting; read never", { interactive: true }))) {
    take(seen, frame);
    if (frame.event === "message.delta") {
      const stopped = await api.post(`/api/runs/${seen.runId}/stop`, {});
      equal([stopped.ok, stopped.runId], [true, seen.runId]);
    }
  }
  equal(statuses(seen), ["accepted", "started", "finished"]);
  equal(seen.derived.at(-1).event, "run.closed");
  const run = await until(() => api.get(`/api/runs/${seen.runId}`), (snapshot) => snapshot.endedAt !== null);
  equal(run.status, "canceled");
}

async function readsTheChatAgain(api, { chatId, userId, projectName }, { runId }) {
  const chat = await until(() => api.get(`${HISTORY}/${chatId}`), ({ messages }) => messages.length === 4);
  equal([chat.chatId, chat.title], [chatId, "A plan"]);
  equal(chat.messages.map(({ role }) => role), ["user", "assistant", "user", "assistant"]);
  equal(chat.messages[1].content, "I begin.\nYou said yes.\n");
  equal(chat.messages[1].runId, runId);
  const renamed = await api.put(`${HISTORY}/${chatId}`, { title: "The plan", messages: [] });
  equal([renamed.title, renamed.messages.length], ["The plan", 4]);
  const { items } = await until(
    () => api.get(HISTORY, { userId, projectName }),
    (list) => list.items[0]?.title === "The plan",
  );
  equal(items.length, 1);
}

/** Reads on from the cursor and leaves after the first frame that is wanted, with those that are derived from it. */
async function follow(api, seen, wanted) {
  for await (const frame of api.resume(seen.runId, seen.cursor)) {
    take(seen, frame);
    if (wanted(frame)) return;
  }
  throw new Error(`the stream of ${seen.runId} ended after ${JSON.stringify(seen.stored.at(-1))}`);
}

function take(seen, frame) {
  seen.runId ||= frame.data.runId;
  if (frame.id === "" || frame.id === "0") {
    seen.derived.push(frame);
    return;
  }
  seen.cursor = Number(frame.id);
  seen.stored.push(frame);
}

function statuses({ derived }) {
  return derived.filter((frame) => frame.event === "run.status").map((frame) => frame.data.status);
}

function body({ chatId, userId, projectName }, script, providerOptions) {
  return {
    sessionId: chatId,
    appId: "portal",
    userLoginName: userId,
    projectName,
    provider: "scripted",
    messages: [{ role: "user", content: script }],
    tools: { bash: true, web: false },
    providerOptions,
  };
}

/** Read models follow the log: asks until it is there. */
async function until(read, isThere) {
  for (let tries = 0; tries < 600; tries += 1) {
    const answer = await read();
    if (isThere(answer)) return answer;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  throw new Error(`${read} did not come to what was awaited: ${JSON.stringify(await read())}`);
}

function ok(condition) {
  if (!condition) throw new Error("a condition does not hold");
}

function equal(found, wanted) {
  const [one, other] = [JSON.stringify(found), JSON.stringify(wanted)];
  if (one !== other) throw new Error(`found ${one}, wanted ${other}`);
}
