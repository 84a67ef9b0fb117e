import type { Flag } from "./command.ts";

export const formatFlag: Flag = {
  name: "format",
  kind: "string",
  description: `Format output using a custom template:
'table':            Print output in table format with column headers (default)
'table TEMPLATE':   Print output in table format using the given Go template
'json':             Print in JSON format
'TEMPLATE':         Print output using the given Go template.`,
};

export const objectFormatFlag: Flag = {
  name: "format",
  short: "f",
  kind: "string",
  description: `Format output using a custom template:
'json':             Print in JSON format
'TEMPLATE':         Print output using the given Go template.`,
};

export function filterFlag(example?: string): Flag {
  const description = example
    ? `Provide filter values (e.g. "${example}")`
    : "Filter output based on conditions provided";
  return { name: "filter", short: "f", kind: "filter", description };
}

export const noTruncFlag: Flag = { name: "no-trunc", kind: "bool", description: "Don't truncate output" };
export const forceFlag: Flag = {
  name: "force",
  short: "f",
  kind: "bool",
  description: "Do not prompt for confirmation",
};
export const detachKeysFlag: Flag = {
  name: "detach-keys",
  kind: "string",
  description: "Override the key sequence for detaching a container",
};
export const signalProxyFlag: Flag = {
  name: "sig-proxy",
  kind: "bool",
  default: true,
  description: "Proxy received signals to the process",
};
