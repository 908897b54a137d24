// Reads a JSON list of AsyncAPI documents (texts) on standard input. Prints for each of them the diagnostics of
// AsyncAPI's own parser, what it found in the document, and which examples are not as their message's schema says.
import { json } from "node:stream/consumers";
import Ajv from "ajv";
import formats from "ajv-formats";
import parser from "@asyncapi/parser";

const reader = new parser.Parser();
const schemas = formats(new Ajv({ strict: false, logger: false }));
const ids = (messages) => messages.all().map((message) => message.id());

function misfits(message) {
  const valid = schemas.compile(message.payload().json());
  const wrong = message.examples().all().filter((example) => !valid(example.payload()));
  return wrong.map(() => `${message.id()}: ${schemas.errorsText(valid.errors)}`);
}

const results = [];
for (const source of await json(process.stdin)) {
  const { document, diagnostics } = await reader.parse(source);
  const operations = document?.operations().all().map((one) => ({
    id: one.id(),
    action: one.action(),
    messages: ids(one.messages()),
    answers: one.reply() ? ids(one.reply().messages()) : [],
  }));
  const messages = document?.messages().all() ?? [];
  results.push({
    diagnostics,
    operations: operations ?? null,
    messages: messages.map((message) => message.id()),
    examples: messages.reduce((count, message) => count + message.examples().all().length, 0),
    misfits: messages.flatMap(misfits),
  });
}
console.log(JSON.stringify(results));
