import { EngineError } from "../common/index.ts";
import type { Filters } from "./contract.ts";
import type { ContainerRecord } from "./container-record.ts";
import { networksOf, statusOf } from "./container-views.ts";
import { requireKnownFilters } from "./known-filters.ts";
import { linearPattern } from "./linear-pattern.ts";

const portValue = /^\d{1,5}(-\d{1,5})?(\/(tcp|udp|sctp))?$/;

/** What a filter may ask that the record alone does not say. */
export interface FilterContext {
  /** Whether an image is, or descends from, the named one. */
  isFromImage(record: ContainerRecord, image: string): boolean;
  /** The record a name or id stands for; throws notFound. */
  lookup(idOrName: string): ContainerRecord;
}

const filterNames = [
  "id",
  "name",
  "status",
  "exited",
  "label",
  "ancestor",
  "volume",
  "network",
  "publish",
  "expose",
  "before",
  "since",
  "health",
  "is-task",
];

/** Throws for a filter, or a value of it, that `docker ps` does not have. */
export function checkContainerFilters(filters: Filters): void {
  requireKnownFilters(filters, filterNames, {
    status: /^(created|running|paused|restarting|removing|exited|dead)$/,
    exited: /^-?\d{1,10}$/,
    health: /^(none|starting|healthy|unhealthy)$/,
    "is-task": /^(0|1|t|f|true|false)$/i,
    publish: portValue,
    expose: portValue,
  });
}

/** `docker ps`'s filters. Values of one filter are alternatives (labels: all must match), different filters must all match. */
export function matchesFilters(record: ContainerRecord, filters: Filters, context: FilterContext): boolean {
  for (const [filter, values] of filters) {
    const test = (value: string): boolean => matchesOne(record, { filter, value, context });
    if (!(filter === "label" ? values.every(test) : values.some(test))) return false;
  }
  return true;
}

function matchesOne(
  record: ContainerRecord,
  { filter, value, context }: { filter: string; value: string; context: FilterContext },
): boolean {
  switch (filter) {
    case "id":
      return record.id.startsWith(value);
    case "name":
      return namePattern(value)(record.name) || namePattern(value)(`/${record.name}`);
    case "status":
      return statusOf(record) === value;
    case "exited":
      return record.state.phase === "exited" && record.state.exitCode === Number(value);
    case "label": {
      const [key = "", wanted] = value.split(/=(.*)/s);
      const labels = record.config.Labels ?? {};
      return key in labels && (wanted === undefined || labels[key] === wanted);
    }
    case "ancestor":
      return context.isFromImage(record, value);
    case "volume":
      return record.mounts.some(
        (mount) => mount.Name === value || mount.Destination === value || mount.Source === value,
      );
    case "network":
      return (
        value in networksOf(record) ||
        Object.values(networksOf(record)).some((network) => network.NetworkID.startsWith(value) && value !== "")
      );
    case "publish":
    case "expose": {
      const [number = "", protocol = "tcp"] = value.split("/");
      const ports = filter === "publish" ? record.host.PortBindings : record.config.ExposedPorts;
      return Object.keys(ports ?? {}).some((port) => port === `${number}/${protocol}`);
    }
    case "before":
      return Date.parse(record.createdAt) < Date.parse(context.lookup(value).createdAt);
    case "since":
      return Date.parse(record.createdAt) > Date.parse(context.lookup(value).createdAt);
    case "health":
      return value === (record.state.health?.Status ?? "none");
    case "is-task":
      return value === "false" || value === "0";
    default:
      throw new EngineError("invalidArgument", `invalid filter '${filter}'`);
  }
}

/** People write `name=a+b` too; a pattern that is no regular expression is taken as it stands. */
function namePattern(text: string): (name: string) => boolean {
  try {
    return linearPattern(text);
  } catch {
    return (name) => name.includes(text);
  }
}
