// The Vercel AI SDK: `vercel_ai.mjs BASE_URL TOKEN SCENARIO` prints what its user sees.
import { createOpenAICompatible } from '@ai-sdk/openai-compatible';
import { generateObject, generateText, isStepCount, Output, streamText, tool } from 'ai';
import { z } from 'zod';

const [baseURL, apiKey, scenario] = process.argv.slice(2);
const provider = createOpenAICompatible({
  name: 'personakit', baseURL, apiKey, includeUsage: true, supportsStructuredOutputs: true,
});
const Rating = z.object({ dish: z.string(), stars: z.number() });
const calls = [];
const weather = tool({
  description: 'The weather of a city.',
  inputSchema: z.object({ city: z.string() }),
  execute: async ({ city }) => { calls.push(city); return `${city}: sun`; },
});
const looped = { tools: { weather }, stopWhen: isStepCount(3), prompt: 'Lyon?' };

const scenarios = {
  async generate() {
    const done = await generateText({
      model: provider('greeter'), instructions: 'Be brief.', prompt: 'Zoë', temperature: 0.9,
      providerOptions: { personakit: { variables: { language: 'French' } } },
    });
    return { text: done.text, usage: done.usage, reason: done.finishReason };
  },
  async stream() {
    const done = streamText({ model: provider('plain'), prompt: 'Hi' });
    const pieces = [];
    for await (const piece of done.textStream) pieces.push(piece);
    return { pieces, usage: await done.usage, reason: await done.finishReason };
  },
  async tools() {
    const done = await generateText({ model: provider('plain'), ...looped });
    return { text: done.text, calls, steps: done.steps.length };
  },
  async stream_tools() {
    const done = streamText({ model: provider('plain'), ...looped });
    return { text: await done.text, calls, steps: (await done.steps).length };
  },
  async object() {
    return (await generateObject({ model: provider('plain'), schema: Rating, prompt: 'Soup?' })).object;
  },
  async output() {
    const output = Output.object({ schema: Rating });
    return (await generateText({ model: provider('plain'), output, prompt: 'Soup?' })).output;
  },
  async refused() {
    try {
      await generateText({ model: provider('nobody'), prompt: 'Hi', maxRetries: 0 });
    } catch (error) {
      return { kind: error.name, status: error.statusCode, message: error.message };
    }
    return {};
  },
};

process.stdout.write(JSON.stringify(await scenarios[scenario]()));
