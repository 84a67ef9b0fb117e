import type { EndpointConfig } from "../../spec/index.ts";
import type { FlagValues } from "../flag-values.ts";
import { UsageError } from "../usage-error.ts";
import { readCsvRecord } from "./csv.ts";

export interface NetworkChoice {
  readonly name: string;
  readonly endpoint: EndpointConfig;
}

/** `--network NAME`, or `name=NAME,alias=a,ip=…,mac-address=…,driver-opt=k=v`. */
export function parseNetwork(text: string): NetworkChoice {
  if (!/\w+=\w+(,\w+=\w+)*/.test(text)) return { name: text, endpoint: {} };
  const endpoint: EndpointConfig = {};
  let name = "";
  for (const field of readCsvRecord(text)) {
    const equals = field.indexOf("=");
    if (equals < 1) throw new UsageError(`invalid field ${field}`);
    const key = field.slice(0, equals).trim().toLowerCase();
    const value = field.slice(equals + 1).trim();
    if (key === "name") name = value;
    else setEndpoint(endpoint, key, value);
  }
  if (name === "") throw new UsageError("network name/id is not specified");
  return { name, endpoint };
}

function setEndpoint(endpoint: EndpointConfig, key: string, value: string): void {
  switch (key) {
    case "alias":
      endpoint.Aliases = [...(endpoint.Aliases ?? []), value];
      return;
    case "ip":
      endpoint.IPAMConfig = { ...endpoint.IPAMConfig, IPv4Address: value };
      return;
    case "ip6":
      endpoint.IPAMConfig = { ...endpoint.IPAMConfig, IPv6Address: value };
      return;
    case "mac-address":
      endpoint.MacAddress = value;
      return;
    case "link-local-ip":
      endpoint.IPAMConfig = {
        ...endpoint.IPAMConfig,
        LinkLocalIPs: [...(endpoint.IPAMConfig?.LinkLocalIPs ?? []), value],
      };
      return;
    case "driver-opt": {
      const equals = value.indexOf("=");
      if (equals < 1) throw new UsageError("invalid key value pair format in driver options");
      endpoint.DriverOpts = { ...endpoint.DriverOpts, [value.slice(0, equals)]: value.slice(equals + 1) };
      return;
    }
    default:
      throw new UsageError(`invalid field key ${key}`);
  }
}

/** The endpoints of the networks that the flags name, by network; `default` when none is named. */
export function toEndpoints(flags: FlagValues): { mode: string; endpoints: Record<string, EndpointConfig> } {
  const choices = flags.list("network").map(parseNetwork);
  const first = choices[0] ?? { name: "default", endpoint: {} };
  const endpoints: Record<string, EndpointConfig> = {};
  [first, ...choices.slice(1)].forEach(({ name, endpoint }, index) => {
    if (Object.hasOwn(endpoints, name))
      throw new UsageError(`network ${JSON.stringify(name)} is specified multiple times`);
    const whole = index === 0 ? withFlags(name, endpoint, flags) : endpoint;
    checkEndpoint(name, whole);
    // One plain network needs no endpoint: the mode says it all, and older engines expect it so.
    if (choices.length === 1 && Object.keys(whole).length === 0) return;
    endpoints[name] = whole;
  });
  return { mode: first.name, endpoints };
}

function withFlags(name: string, endpoint: EndpointConfig, flags: FlagValues): EndpointConfig {
  const whole: EndpointConfig = { ...endpoint };
  const aliases = flags.list("network-alias");
  if (aliases.length > 0) whole.Aliases = [...aliases];
  if (isUserDefined(name) && flags.list("link").length > 0) whole.Links = [...flags.list("link")];
  const [ip, ip6] = [flags.optional("ip"), flags.optional("ip6")];
  const linkLocal = flags.list("link-local-ip");
  if (ip || ip6 || linkLocal.length > 0) {
    whole.IPAMConfig = {
      ...whole.IPAMConfig,
      ...(ip ? { IPv4Address: ip } : {}),
      ...(ip6 ? { IPv6Address: ip6 } : {}),
      ...(linkLocal.length > 0 ? { LinkLocalIPs: [...linkLocal] } : {}),
    };
  }
  const mac = flags.optional("mac-address");
  if (mac) whole.MacAddress = mac;
  return whole;
}

function checkEndpoint(name: string, endpoint: EndpointConfig): void {
  if (name.trim() === "") throw new UsageError("no name set for network");
  if (!isUserDefined(name) && (endpoint.Aliases ?? []).length > 0) {
    throw new UsageError("network-scoped aliases are only supported for user-defined networks");
  }
}

function isUserDefined(name: string): boolean {
  return !/^(default|bridge|host|none)$/.test(name) && !name.startsWith("container:");
}
