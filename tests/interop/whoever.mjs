// Asks whoever there is, and prints what came within TTL_MS; or is there, and answers on "volts"
// until stdin ends: in turn with others of GROUP, if it has one. It is no part: nobody knows of it.
//     node whoever.mjs nats://127.0.0.1:4222 NAMESPACE ask TOPIC TTL_MS ARGUMENT ...
//     node whoever.mjs nats://127.0.0.1:4222 NAMESPACE answer NAME [GROUP]
import { connect, NoRespondersError } from "@nats-io/transport-node";
const [servers, namespace, what, name, ...rest] = process.argv.slice(2);
const RAILS = { "3V3": 3.31, "5V": 5.02 };
const print = (what) => console.log(JSON.stringify(what));
const subject = (topic) => `ate1.${namespace}.q.${topic}`; // Topics like these are as they are.
const nc = await connect({ servers, maxReconnectAttempts: -1 });
function measure(rail) {
  if (!(rail in RAILS)) throw new RangeError(`no rail ${rail}`);
  return { name, rail, volts: RAILS[rail] };
}

function asked(_, msg) {
  try {
    const { args } = msg.json();
    msg.respond(JSON.stringify(measure(...args)));
  } catch ({ name: kind, message, stack }) {
    msg.respond(JSON.stringify({ $error: { kind, message, traceback: stack.slice(-4096) } }));
  }
}

async function answers(topic, ttl, ...args) {
  const came = [], payload = { args: args.map(JSON.parse), ttl_ms: Number(ttl) };
  const wait = { strategy: "timer", maxWait: Number(ttl) };
  try {
    for await (const msg of await nc.requestMany(subject(topic), JSON.stringify(payload), wait))
      came.push(msg.json());
  } catch (error) { if (!(error instanceof NoRespondersError)) throw error; }
  return came;
}

if (what === "ask") {
  print(await answers(name, ...rest));
  nc.drain().then(process.exit);
} else {
  nc.subscribe(subject("volts"), { queue: rest[0], callback: asked });
  await nc.flush();
  print("there");
  process.stdin.resume().on("end", () => nc.drain().then(process.exit));
}
