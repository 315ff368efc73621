// What goes over the wire: JSON, and chat completions as they stream.

export class Refused extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

async function refused(response) {
  let said = "";
  try {
    said = (await response.json()).error?.message ?? "";
  } catch {
    // No JSON: the status has to do.
  }
  return new Refused(response.status, said || `The server answered ${response.status}.`);
}

export async function get(path) {
  const response = await fetch(path);
  if (!response.ok) throw await refused(response);
  return response.json();
}

// Send JSON; statuses in `expected` are answers like any other.
export async function send(method, path, value, { expected = [], signal } = {}) {
  const headers = { "content-type": "application/json" };
  const response = await fetch(path, { method, headers, body: JSON.stringify(value), signal });
  if (!response.ok && !expected.includes(response.status)) throw await refused(response);
  return { status: response.status, value: await response.json() };
}

// Ask a chat completion, streamed. `heard` is told each piece of text as it comes.
// Times are milliseconds of this page's clock since the request was sent.
export async function ask(path, request, heard, signal) {
  const began = performance.now();
  const answer = { text: "", refusal: false, finish: null, id: null, pieces: [], first: null, whole: null };
  const response = await fetch(path, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ ...request, stream: true }),
    signal,
  });
  if (!response.ok) throw await refused(response);
  let ended = false;
  for await (const data of payloads(response.body)) {
    if (data === "[DONE]") {
      ended = true;
      break;
    }
    const chunk = JSON.parse(data);
    if (chunk.error) throw new Refused(500, chunk.error.message ?? "The answer broke off.");
    answer.id ??= chunk.id ?? null;
    const choice = chunk.choices?.[0];
    const said = choice?.delta?.content || choice?.delta?.refusal;
    if (said) {
      answer.refusal ||= Boolean(choice.delta.refusal);
      answer.text += said;
      answer.pieces.push(performance.now() - began);
      heard(said);
    }
    answer.finish = choice?.finish_reason ?? answer.finish;
  }
  if (!ended) throw new Refused(500, "The answer broke off.");
  answer.whole = performance.now() - began;
  answer.first = answer.pieces[0] ?? null;
  return answer;
}

async function* payloads(body) {
  const decoder = new TextDecoder();
  const reader = body.getReader();
  let held = "";
  try {
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      held += decoder.decode(value, { stream: true });
      const events = held.split("\n\n");
      held = events.pop();
      for (const event of events) if (event.startsWith("data: ")) yield event.slice("data: ".length);
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}
