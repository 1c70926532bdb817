// Drives Pollen with OpenAI's own client of npm: `drive.mjs SCENARIOS BASE`. What it says and how is as in `drive.py`. All
// objects that come are kept in the file RECORDED, for the compiler of TypeScript to hold against the client's types.

import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { appendFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import OpenAI from 'openai';

const model = 'scripted-model';
const PAUSE_MS = 50;
const PATIENCE_MS = 170_000;
const [scenarios, base, ...more] = process.argv.slice(2);
const exchanges = [];

// The runtime's own fetch, but for a look at what comes.
async function lookingFetch(url, init) {
  const response = await fetch(url, init);
  const { pathname } = new URL(url);
  exchanges.push({ method: init.method.toUpperCase(), path: pathname, status: response.status });
  // What a proxy says for a server that it could not ask is its own.
  if (!response.headers.get('content-type')?.startsWith('application/json')) return response;
  const body = await response.clone().json();
  assert.equal(response.headers.get('cache-control'), 'no-store');
  if (response.ok) {
    appendFileSync(process.env.RECORDED, `${JSON.stringify({ path: pathname, body })}\n`);
  } else {
    assert.deepEqual(Object.keys(body), ['error']);
  }
  return response;
}

const options = { baseURL: `${base}/v1`, apiKey: 'pollen', fetch: lookingFetch };
const pollen = new OpenAI(options);

const say = (...words) => console.log(...words);
const isOpen = ({ status }) => ['queued', 'in_progress'].includes(status);
const ask = (input, rest = {}) => pollen.responses.create({ model, input, background: true, ...rest });

async function toTheEnd(response, seen = () => {}) {
  const deadline = Date.now() + PATIENCE_MS;
  while (isOpen(response)) {
    assert(Date.now() < deadline, JSON.stringify(response));
    await sleep(PAUSE_MS);
    response = await pollen.responses.retrieve(response.id);
    seen(response);
  }
  return response;
}

async function begun(response, text) {
  const deadline = Date.now() + PATIENCE_MS;
  while (response.output_text !== text) {
    assert(isOpen(response) && Date.now() < deadline, JSON.stringify(response));
    await sleep(PAUSE_MS);
    response = await pollen.responses.retrieve(response.id);
  }
  return response;
}

const answered = async (input, rest) => toTheEnd(await ask(input, rest));

async function refused(kind, asking, expected = {}) {
  const error = await asking.then((got) => assert.fail(`not refused: ${JSON.stringify(got)}`), (error) => error);
  assert(error instanceof kind, error);
  for (const [name, value] of Object.entries(expected)) assert.equal(error[name], value);
  assert(error.requestID);
  return error;
}

const known = {
  async grows() {
    const texts = [];
    const response = await ask('Grow', { metadata: { topic: 'bees' }, instructions: 'Be brief.' });
    assert(isOpen(response));
    const end = await toTheEnd(response, ({ output_text }) => {
      if (output_text === (texts.at(-1) ?? '')) return;
      assert(output_text.startsWith(texts.at(-1) ?? ''));
      texts.push(output_text);
      if (output_text === 'Half of it, ') say('open grow');
    });
    assert.equal(end.status, 'completed');
    assert.equal(end.output_text, 'Half of it, and the rest.');
    assert.equal(texts[0], 'Half of it, ');
    assert.deepEqual(end.metadata, { topic: 'bees' });
    assert.equal(end.usage.total_tokens, 18);
  },

  async thinks() {
    const { output, output_text, usage } = await answered('Think', { reasoning: { effort: 'low' } });
    assert.deepEqual(output.map(({ type }) => type), ['reasoning', 'message']);
    assert.equal(output[0].summary.map(({ text }) => text).join(''), 'Hm, yes.');
    assert.equal(output_text, 'So it is.');
    assert.equal(usage.output_tokens_details.reasoning_tokens, 5);
  },

  async waits() {
    const response = await pollen.responses.create({ model, input: 'Hello' });
    assert.equal(response.output_text, 'You said: Hello');
  },

  async cancels() {
    const response = await begun(await ask('Stall'), 'Half ');
    const cancelled = await pollen.responses.cancel(response.id);
    assert.equal(cancelled.status, 'cancelled');
    assert.equal(cancelled.output[0].content[0].text, 'Half ');
    assert.deepEqual(await pollen.responses.cancel(response.id), cancelled);
  },

  async goes_on() {
    const first = await answered('one');
    const second = await answered('two', { previous_response_id: first.id });
    assert.equal(second.previous_response_id, first.id);
    const third = await answered('three', { conversation: first.conversation.id });
    assert.equal(third.conversation.id, second.conversation.id);
    say('conversation', first.conversation.id);
  },

  async fails() {
    const broken = await answered('Break');
    assert.deepEqual([broken.status, broken.error.code, broken.output_text], ['failed', 'server_error', 'Broken ']);
    assert.equal((await answered('Rate')).error.code, 'rate_limit_exceeded');
    assert.equal((await answered('Refuse')).error.code, 'invalid_prompt');
    assert.equal((await answered('Long')).incomplete_details.reason, 'max_output_tokens');
    assert.equal((await answered('Filtered')).incomplete_details.reason, 'content_filter');
  },

  async refuses() {
    const count = exchanges.length;
    const streamed = await refused(OpenAI.BadRequestError, ask('x', { stream: true }), { param: 'stream' });
    assert.match(streamed.message, /poll/);
    await refused(OpenAI.BadRequestError, ask('x', { store: false }), { param: 'store' });
    const nobody = `resp_${randomUUID().replaceAll('-', '')}`;
    await refused(OpenAI.NotFoundError, pollen.responses.retrieve(nobody));
    await refused(OpenAI.NotFoundError, pollen.responses.cancel(nobody));
    assert.equal(exchanges.length, count + 4);
  },

  async is_busy() {
    const first = await begun(await ask('Stall'), 'Half ');
    const count = exchanges.length;
    const busy = await refused(OpenAI.ConflictError, ask('two', { previous_response_id: first.id }));
    assert.equal(exchanges.length, count + 1, 'it was asked again');
    assert(Number(busy.headers.get('retry-after-ms')) > 0);
    await pollen.responses.cancel(first.id);
  },

  async lists() {
    const items = [{ role: 'user', content: 'a' }, { role: 'assistant', content: 'b' }, { role: 'user', content: 'c' }];
    const first = await answered(items);
    const texts = [];
    for await (const item of pollen.responses.inputItems.list(first.id, { limit: 2, order: 'asc' })) {
      texts.push(item.content[0].text);
    }
    assert.deepEqual(texts, ['a', 'b', 'c']);
    const models = [];
    for await (const { id } of pollen.models.list()) models.push(id);
    assert(models.includes(model));
    assert.deepEqual(await pollen.responses.delete(first.id), { id: first.id, object: 'response', deleted: true });
    await refused(OpenAI.NotFoundError, pollen.responses.retrieve(first.id));
  },

  async once() {
    const options = { headers: { 'Idempotency-Key': '7f3a' } };
    const send = () => pollen.responses.create({ model, input: 'Hello', background: true }, options);
    const first = await send();
    assert.equal((await send()).id, first.id);
    await toTheEnd(first);
  },

  async on_from() {
    let response = await begun(await ask('Grow'), 'Half of it, ');
    let [text, position] = ['', 0];
    for (;;) {
      response = await pollen.responses.retrieve(response.id, { starting_after: position });
      const { append, position: next } = response.pollen;
      text = append ? text + response.output_text : response.output_text;
      if (position === 0 && text === 'Half of it, ') say('open grow');
      position = next;
      if (!isOpen(response)) break;
      await sleep(PAUSE_MS);
    }
    assert.equal(text, 'Half of it, and the rest.');
  },

  async creates_and_polls() {
    const { threads } = pollen.beta;
    const thread = await threads.create({ messages: [{ role: 'user', content: 'Hello' }] });
    const run = await threads.runs.createAndPoll(thread.id, { assistant_id: model });
    assert.equal(run.status, 'completed');
    assert.equal(run.usage.total_tokens, 18);
    const texts = [];
    for await (const message of threads.messages.list(thread.id, { order: 'asc' })) {
      texts.push(message.content[0].text.value);
    }
    assert.deepEqual(texts, ['Hello', 'You said: Hello']);
    const broken = await threads.createAndRunPoll({
      assistant_id: model,
      thread: { messages: [{ role: 'user', content: 'Break' }] },
    });
    assert.deepEqual([broken.status, broken.last_error.code], ['failed', 'server_error']);
    assert.equal((await threads.delete(thread.id)).deleted, true);
  },

  async completes() {
    const messages = [{ role: 'user', content: 'Hello' }];
    const { choices, usage } = await pollen.chat.completions.create({ model, messages });
    assert.equal(choices[0].message.content, 'You said: Hello');
    assert.equal(usage.total_tokens, 18);
    await refused(OpenAI.BadRequestError, pollen.chat.completions.create({ model, messages, stream: true }), { param: 'stream' });
  },

  // Against bad proxies the client does what it does by itself.
  async through() {
    const { responses } = new OpenAI({ ...options, maxRetries: 20 });
    const sizes = new Set();
    const key = { pollen: { idempotency_key: randomUUID() } };
    let response = await responses.create({ model, input: 'Tell me of pollen', background: true, ...key });
    while (isOpen(response)) {
      await sleep(PAUSE_MS);
      response = await responses.retrieve(response.id);
      sizes.add(response.output_text.length);
    }
    assert.equal(response.status, 'completed');
    assert(sizes.size > 3);
    say('text', JSON.stringify(response.output_text));
    say('response', response.id);
  },
};

for (const name of scenarios.split(',')) await known[name](...more);
say('done', exchanges.length);
