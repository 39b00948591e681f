// openai-node: `openai_node.mjs BASE_URL TOKEN SCENARIO` prints what its user sees.
import OpenAI from 'openai';
import { zodResponseFormat } from 'openai/helpers/zod';
import { z } from 'zod';

const [baseURL, apiKey, scenario] = process.argv.slice(2);
const client = new OpenAI({ baseURL, apiKey });
const messages = [{ role: 'system', content: 'Be brief.' }, { role: 'user', content: 'Zoë' }];
const weather = {
  type: 'function',
  function: {
    name: 'weather',
    description: 'The weather of a city.',
    parameters: {
      type: 'object', properties: { city: { type: 'string' } }, required: ['city'],
    },
  },
};

const scenarios = {
  async create() {
    const { data, response, request_id } = await client.chat.completions
      .create({ model: 'greeter', messages, temperature: 0.9, variables: { language: 'French' } })
      .withResponse();
    return {
      text: data.choices[0].message.content, usage: data.usage, model: data.model, request_id,
      run: response.headers.get('x-personakit-run'),
    };
  },
  async stream() {
    const stream = await client.chat.completions.create({
      model: 'plain', messages, stream: true, stream_options: { include_usage: true },
    });
    const pieces = [], reasons = [];
    let usage = null;
    for await (const chunk of stream) {
      const [choice] = chunk.choices;
      if (choice?.delta.content) pieces.push(choice.delta.content);
      if (choice?.finish_reason) reasons.push(choice.finish_reason);
      if (chunk.usage) usage = chunk.usage;
    }
    return { pieces, reasons, usage };
  },
  async helper() {
    const stream = client.chat.completions.stream({ model: 'plain', messages });
    return { text: await stream.finalContent(), message: await stream.finalMessage() };
  },
  async parse() {
    const Rating = z.object({ dish: z.string(), stars: z.number() });
    const done = await client.chat.completions.parse({
      model: 'plain', messages, response_format: zodResponseFormat(Rating, 'rating'),
    });
    return done.choices[0].message.parsed;
  },
  async tools(stream = false) {
    const calls = [];
    const run = (args) => { calls.push(args); return `${args.city}: sun`; };
    const tool = { ...weather, function: { ...weather.function, parse: JSON.parse, function: run } };
    const runner = client.chat.completions.runTools({ model: 'plain', messages, tools: [tool], stream });
    return { text: await runner.finalContent(), calls };
  },
  stream_tools: () => scenarios.tools(true),
  async failures() {
    const seen = {};
    const attempt = async (name, change, model = 'plain') => {
      try {
        await new OpenAI({ baseURL, apiKey, maxRetries: 0, ...change }).chat.completions
          .create({ model, messages });
      } catch (error) {
        seen[name] = { kind: error.constructor.name, status: error.status, code: error.code };
      }
    };
    await attempt('key', { apiKey: 'pk-wrong' });
    await attempt('model', {}, 'nobody');
    await attempt('limit', {});
    return seen;
  },
  async broken() {
    const pieces = [];
    try {
      const stream = await client.chat.completions.create({ model: 'plain', messages, stream: true });
      for await (const chunk of stream) pieces.push(chunk.choices[0]?.delta.content ?? '');
    } catch (error) {
      return { text: pieces.join(''), kind: error.constructor.name, message: error.message };
    }
    return { text: pieces.join('') };
  },
  async models() {
    const ids = [];
    for await (const model of client.models.list()) ids.push(model.id);
    return ids;
  },
};

process.stdout.write(JSON.stringify(await scenarios[scenario]()));
