import type { EventMessage } from "../../spec/index.ts";
import type { Command, Invocation } from "../command.ts";
import { encodeFilters } from "../filters.ts";
import { GoTemplate, TemplateError, toJson } from "../go-template/index.ts";
import { printLine } from "../output.ts";
import { toTimestamp } from "../timestamps.ts";
import { objectFormatFlag } from "../common-flags.ts";
import { filterFlag } from "../common-flags.ts";
import { UsageError } from "../usage-error.ts";

export const command: Command = {
  usage: "events [OPTIONS]",
  description: "Get real time events from the server",
  aliases: ["system events", "events"],
  flags: [
    filterFlag(),
    { name: "format", kind: "string", description: objectFormatFlag.description },
    { name: "since", kind: "string", description: "Show all events created since timestamp" },
    { name: "until", kind: "string", description: "Stream events until this timestamp" },
  ],
  arguments: { min: 0, max: 0 },
  run: showEvents,
};

async function showEvents({ flags, client }: Invocation): Promise<number> {
  const render = renderer(flags.string("format"));
  const engine = await client();
  const events = engine.lines<EventMessage>("GET", "/events", {
    query: {
      since: toTimestamp(flags.string("since"), "since"),
      until: toTimestamp(flags.string("until"), "until"),
      filters: encodeFilters(flags.list("filter")),
    },
  });
  for await (const event of events) printLine(render(event));
  return 0;
}

function renderer(format: string): (event: EventMessage) => string {
  if (format === "") return eventLine;
  try {
    const template = new GoTemplate(format === "json" ? "{{json .}}" : format);
    return (event) =>
      format === "json"
        ? toJson(event)
        : template.execute({
            ...event,
            ID: event.id,
            Status: event.status,
            From: event.from,
            Time: event.time,
            TimeNano: event.timeNano,
            Scope: event.scope,
          });
  } catch (thrown) {
    if (thrown instanceof TemplateError)
      throw new UsageError(`Error parsing format: template parsing error: ${thrown.message}`, 64);
    throw thrown;
  }
}

/** `2006-01-02T15:04:05.000000000+00:00 container start <id> (image=x, name=y)` */
export function eventLine(event: EventMessage): string {
  const attributes = Object.entries(event.Actor.Attributes ?? {})
    .map(([name, value]) => `${name}=${value}`)
    .sort();
  const list = attributes.length > 0 ? ` (${attributes.join(", ")})` : "";
  return `${eventTime(event)} ${event.Type} ${event.Action} ${event.Actor.ID}${list}`;
}

function eventTime(event: EventMessage): string {
  const seconds = event.timeNano ? Math.floor(event.timeNano / 1e9) : event.time;
  const nanoseconds = event.timeNano ? Math.max(0, event.timeNano - seconds * 1e9) : 0;
  const offset = -new Date(seconds * 1000).getTimezoneOffset();
  const local = new Date((seconds + offset * 60) * 1000).toISOString().slice(0, 19);
  const two = (value: number): string => String(Math.floor(value)).padStart(2, "0");
  const zone = `${offset < 0 ? "-" : "+"}${two(Math.abs(offset) / 60)}:${two(Math.abs(offset) % 60)}`;
  return `${local}.${String(Math.floor(nanoseconds)).padStart(9, "0")}${offset === 0 ? "Z" : zone}`;
}
