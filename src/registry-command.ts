import { readFileSync } from "node:fs";
import { isIP } from "node:net";
import { parseArgs } from "node:util";
import { EngineError, goDurationProblem, parseGoDuration, parseSize, toEngineError } from "./common/index.ts";
import {
  FileAccess,
  readRetention,
  readWebhooks,
  retireNow,
  S3Storage,
  serveRegistry,
  verifyRegistry,
  type RegistryServerOptions,
} from "./registry/index.ts";

const defaultRegistryRoot = "/var/lib/vitrine-registry";
const passwordCost = 10;
const maxPasswordBytes = 72;
const help = `Usage:  vitrine registry serve [OPTIONS]
        vitrine registry verify [--root DIR] [--storage s3://…]
        vitrine registry retention --retention FILE [--root DIR] [--dry-run]
        vitrine registry htpasswd USER < PASSWORD

A registry: docker, podman, skopeo and Vitrine push images to it and pull them from it (OCI distribution 1.1).
"verify" reads every blob and manifest again and says which are damaged; "retention" takes away what the rules say, or with --dry-run
only says it. The server may run meanwhile. "htpasswd" prints a user's line for --htpasswd; the password is one line of standard input.
Without --htpasswd anyone who reaches the address may do everything, so it then serves this machine only.

Options:
      --listen string         Address and port (default "127.0.0.1:5000")
      --root string           Where everything is kept (default "${defaultRegistryRoot}")
      --storage string        Where blobs are, if not below the root: s3://BUCKET or s3://BUCKET/PREFIX, this registry's alone
      --s3-endpoint string    The object store, such as https://s3.example.org (keys: AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY)
      --s3-region string      Its region (default "us-east-1")
      --s3-redirect           Send clients to the object store for blobs: it must be reachable by them
      --htpasswd string       File of users with bcrypt passwords, as "htpasswd -B" writes it
      --rules string          File of "USER REPOSITORY pull,push,delete" lines; without it each user may do everything
      --anonymous-pull        Anyone may pull
      --anyone                Serve other machines although there are no users
      --tls-cert string       Certificate chain, PEM
      --tls-key string        Its key, PEM
      --no-delete             Refuse every deletion
      --immutable-tags        A tag never moves to another image
      --metrics               Serve GET /metrics for Prometheus, to users only where there are users
      --proxy string          Be a cache of this registry, such as https://registry-1.docker.io; nothing can be pushed then
      --proxy-user string     The cache's user there
      --proxy-password-file string   File with that user's password
      --proxy-ttl string      What nobody asked for so long goes from the cache (default "168h")
      --webhooks string       JSON file of places that are told of pushes and deletions
      --retention string      JSON file of rules: which tags and manifests go, looked at before each collection
      --dry-run               With "retention": delete nothing
      --quota string          Most that all blobs of one repository may have, such as 20g
      --max-blob-size string  Largest blob that is taken (default "64g")
      --max-uploads string    Uploads in progress at once (default "1000")
      --upload-expiry string  Hours after which an abandoned upload goes (default "24")
      --grace string          Minutes for which what no manifest needs stays (default "60")
      --collect-every string  Minutes between two collections; 0 for none (default "10")
      --help                  Print this
`;

const optionTypes = {
  listen: { type: "string", default: "127.0.0.1:5000" },
  root: { type: "string", default: defaultRegistryRoot },
  storage: { type: "string" },
  "s3-endpoint": { type: "string" },
  "s3-region": { type: "string", default: "us-east-1" },
  "s3-redirect": { type: "boolean", default: false },
  htpasswd: { type: "string" },
  rules: { type: "string" },
  "anonymous-pull": { type: "boolean", default: false },
  anyone: { type: "boolean", default: false },
  "tls-cert": { type: "string" },
  "tls-key": { type: "string" },
  "no-delete": { type: "boolean", default: false },
  "immutable-tags": { type: "boolean", default: false },
  metrics: { type: "boolean", default: false },
  proxy: { type: "string" },
  "proxy-user": { type: "string" },
  "proxy-password-file": { type: "string" },
  "proxy-ttl": { type: "string" },
  webhooks: { type: "string" },
  retention: { type: "string" },
  "dry-run": { type: "boolean", default: false },
  quota: { type: "string" },
  "max-blob-size": { type: "string", default: "64g" },
  "max-uploads": { type: "string", default: "1000" },
  "upload-expiry": { type: "string", default: "24" },
  grace: { type: "string", default: "60" },
  "collect-every": { type: "string", default: "10" },
  help: { type: "boolean", default: false },
} as const;

/** Runs until SIGTERM or SIGINT. Sets the exit code: 0 for an orderly end, 1 for a failure, 125 for wrong arguments. */
export async function runRegistry(args: readonly string[]): Promise<void> {
  const task = readTask(args);
  if (!task) return;
  try {
    await task();
  } catch (error) {
    process.stderr.write(`vitrine registry: ${toEngineError(error).message}\n`);
    process.exit(1);
  }
}

type Values = ReturnType<typeof parseArgs<{ options: typeof optionTypes }>>["values"];

/** What is to be done; undefined when the help was. */
function readTask(args: readonly string[]): (() => Promise<void>) | undefined {
  try {
    const { values, positionals } = parseArgs({
      args: [...args],
      options: optionTypes,
      strict: true,
      allowPositionals: true,
    });
    if (values.help || args.length === 0) {
      process.stdout.write(help);
      return undefined;
    }
    const [command, ...rest] = positionals;
    if (command === "htpasswd") return toUserLine(args, rest);
    if (rest.length > 0) throw wrong(`"${rest.join(" ")}" is one word too many`);
    if (command === "serve") {
      if (values["dry-run"]) throw wrong("--dry-run is no option of serve");
      const options = toServerOptions(values);
      return () => serve(options);
    }
    if (command === "retention") return toRetention(args, values);
    if (command !== "verify") throw wrong(`unknown command "${command ?? ""}"`);
    return toVerification(args, values);
  } catch (error) {
    process.stderr.write(`vitrine registry: ${(error as Error).message}\nSee 'vitrine registry --help'.\n`);
    process.exit(125);
  }
}

/** Of the options of `serve`, only those that say where everything is make sense here. */
function toVerification(args: readonly string[], values: Values): () => Promise<void> {
  requireOnly(args, { command: "verify", known: ["--root", "--storage", "--s3-endpoint", "--s3-region"] });
  const options = { root: values.root ?? defaultRegistryRoot, ...readStorage(values) };
  return async () => {
    const { blobs, manifests, problems } = await verifyRegistry(options);
    for (const problem of problems) process.stdout.write(`${problem}\n`);
    process.stdout.write(`${blobs} blobs and ${manifests} manifests were read: ${problems.length} problems\n`);
    if (problems.length > 0) process.exitCode = 1;
  };
}

function toRetention(args: readonly string[], values: Values): () => Promise<void> {
  requireOnly(args, { command: "retention", known: ["--root", "--retention", "--dry-run"] });
  const { root = defaultRegistryRoot, retention, "dry-run": isDry = false } = values;
  if (retention === undefined) throw wrong("retention needs --retention FILE");
  const rules = readRetention(retention);
  return async () => {
    const retired = retireNow({ root, rules, apply: !isDry });
    for (const { repository, digest, tag, why } of retired) {
      const name = tag === undefined ? `${repository}@${digest}` : `${repository}:${tag}`;
      process.stdout.write(`${isDry ? "would delete" : "deleted"} ${name} (${why})\n`);
    }
    const tags = retired.filter(({ tag }) => tag !== undefined).length;
    const words = `${tags} tags and ${retired.length - tags} manifests`;
    process.stdout.write(isDry ? `${words} would go\n` : `${words} went; their blobs go with the next collection\n`);
  };
}

function toUserLine(args: readonly string[], [user = "", ...rest]: readonly string[]): () => Promise<void> {
  requireOnly(args, { command: "htpasswd", known: [] });
  if (rest.length > 0 || !/^[^\s:#][^\s:]{0,99}$/.test(user))
    throw wrong(`"${[user, ...rest].join(" ")}" is no user's name`);
  return async () => {
    const password = (await Bun.stdin.text()).replace(/\r?\n$/, "");
    if (password === "" || /[\r\n]/.test(password)) throw wrong("The password is one line of standard input");
    // More bytes than these bcrypt does not look at.
    if (Buffer.byteLength(password) > maxPasswordBytes) throw wrong(`A password may have ${maxPasswordBytes} bytes`);
    process.stdout.write(`${user}:${await Bun.password.hash(password, { algorithm: "bcrypt", cost: passwordCost })}\n`);
  };
}

function requireOnly(args: readonly string[], { command, known }: { command: string; known: readonly string[] }): void {
  const other = args.find((word) => word.startsWith("--") && !known.includes(word.split("=")[0] ?? ""));
  if (other !== undefined) throw wrong(`${other} is no option of ${command}`);
}

function toServerOptions(values: Values): RegistryServerOptions {
  const { hostname, port } = readAddress(values.listen ?? "");
  const { htpasswd, rules } = values;
  if (htpasswd === undefined) {
    if (rules !== undefined) throw wrong("--rules says what users may do: name their passwords with --htpasswd");
    if (values["anonymous-pull"]) throw wrong("--anonymous-pull makes a difference only with --htpasswd");
    if (!isLoopback(hostname) && !values.anyone) {
      throw wrong(`"${hostname}" is reached by other machines: give --htpasswd, or --anyone if anyone may push`);
    }
  }
  const access =
    htpasswd === undefined
      ? undefined
      : new FileAccess({
          htpasswdPath: htpasswd,
          ...(rules === undefined ? {} : { rulesPath: rules }),
          anonymousPull: values["anonymous-pull"] ?? false,
        });
  return {
    root: values.root ?? defaultRegistryRoot,
    hostname,
    port,
    ...(access ? { access } : {}),
    ...readTls(values),
    ...readStorage(values),
    ...readUpstream(values),
    ...readRules(values),
    keepEverything: values["no-delete"] ?? false,
    metrics: values.metrics ?? false,
    immutableTags: values["immutable-tags"] ?? false,
    collectEveryMs: readNumber(values, "collect-every") * 60_000,
    limits: {
      blobBytes: parseSize(values["max-blob-size"] ?? ""),
      ...(values.quota === undefined ? {} : { repositoryBytes: parseSize(values.quota) }),
      uploadsAtOnce: readNumber(values, "max-uploads"),
      uploadExpiryMs: readNumber(values, "upload-expiry") * 3_600_000,
      graceMs: readNumber(values, "grace") * 60_000,
    },
    log: (level, message) => void process.stderr.write(`${new Date().toISOString()} ${level} ${message}\n`),
  };
}

function readAddress(text: string): { hostname: string; port: number } {
  const match = /^(?:\[([0-9a-fA-F:]+)\]|([A-Za-z0-9.-]+)):(\d{1,5})$/.exec(text);
  const port = Number(match?.[3]);
  if (!match || port > 65_535)
    throw wrong(`--listen "${text}" is no address and port such as 127.0.0.1:5000 or [::1]:5000`);
  return { hostname: match[1] ?? match[2] ?? "", port };
}

function isLoopback(hostname: string): boolean {
  return hostname === "localhost" || hostname === "::1" || (isIP(hostname) === 4 && hostname.startsWith("127."));
}

function readTls(values: Values): Pick<RegistryServerOptions, "tls"> {
  const { "tls-cert": certificate, "tls-key": key } = values;
  if (certificate === undefined && key === undefined) return {};
  if (certificate === undefined || key === undefined) throw wrong("--tls-cert and --tls-key belong together");
  return { tls: { certificate: readFileSync(certificate, "utf8"), key: readFileSync(key, "utf8") } };
}

function readStorage(values: Values): Pick<RegistryServerOptions, "storage"> {
  const { storage, "s3-endpoint": endpoint, "s3-region": region = "us-east-1" } = values;
  if (storage === undefined) {
    if (endpoint !== undefined) throw wrong("--s3-endpoint belongs to --storage s3://BUCKET");
    if (values["s3-redirect"]) throw wrong("--s3-redirect belongs to --storage s3://BUCKET");
    return {};
  }
  const match = /^s3:\/\/([a-z0-9][a-z0-9.-]{1,61}[a-z0-9])(?:\/([A-Za-z0-9._/-]*?))?\/?$/.exec(storage);
  if (!match) throw wrong(`--storage "${storage}" is not of the form s3://BUCKET or s3://BUCKET/PREFIX`);
  if (!/^https?:\/\/[^/]+$/.test(endpoint ?? ""))
    throw wrong("--storage s3://… needs --s3-endpoint, an address without a path");
  const { AWS_ACCESS_KEY_ID: accessKeyId, AWS_SECRET_ACCESS_KEY: secretAccessKey } = process.env;
  if (!accessKeyId || !secretAccessKey) {
    throw wrong("--storage s3://… needs AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY in the environment");
  }
  const redirect = values["s3-redirect"] ?? false;
  const place = { endpoint: endpoint ?? "", bucket: match[1] ?? "", prefix: match[2] ?? "", region, redirect };
  return { storage: new S3Storage({ ...place, accessKeyId, secretAccessKey }) };
}

/** Options that make no sense for a cache are refused by name, not ignored. */
function readUpstream(values: Values): Pick<RegistryServerOptions, "upstream"> {
  const { proxy: url, "proxy-user": username, "proxy-password-file": file, "proxy-ttl": ttl } = values;
  if (url === undefined) {
    const other = ["proxy-user", "proxy-password-file", "proxy-ttl"].find((name) => name in values);
    if (other !== undefined) throw wrong(`--${other} belongs to --proxy`);
    return {};
  }
  if (!/^https?:\/\/[^/@?#]+\/?$/.test(url) || !URL.canParse(url)) {
    throw wrong(`--proxy "${url}" is no address such as https://registry.example.org`);
  }
  const pushing = ["quota", "retention"].find((name) => name in values);
  const flag = (["no-delete", "immutable-tags"] as const).find((name) => values[name]);
  if (pushing !== undefined || flag !== undefined) {
    throw wrong(`--${pushing ?? flag} is for a registry that is pushed to, and --proxy makes a cache`);
  }
  if ((username === undefined) !== (file === undefined))
    throw wrong("--proxy-user and --proxy-password-file belong together");
  const ttlNs = parseGoDuration(ttl ?? "168h");
  if (ttlNs === undefined || ttlNs <= 0) throw wrong(`--proxy-ttl: ${goDurationProblem(ttl ?? "")}`);
  const password = file === undefined ? "" : readFileSync(file, "utf8").replace(/\r?\n$/, "");
  const credentials = username === undefined ? {} : { credentials: { username, password } };
  return { upstream: { url: url.replace(/\/$/, ""), ttlMs: ttlNs / 1e6, ...credentials } };
}

function readRules(values: Values): Pick<RegistryServerOptions, "webhooks" | "retention"> {
  const { webhooks, retention } = values;
  if (retention !== undefined && values["no-delete"]) throw wrong("--retention deletes, and --no-delete forbids it");
  return {
    ...(webhooks === undefined ? {} : { webhooks: readWebhooks(webhooks) }),
    ...(retention === undefined ? {} : { retention: readRetention(retention) }),
  };
}

function readNumber(values: Values, name: "max-uploads" | "upload-expiry" | "grace" | "collect-every"): number {
  const text = values[name] ?? "";
  if (!/^\d{1,7}(\.\d+)?$/.test(text)) throw wrong(`--${name} "${text}" is no number`);
  return Number(text);
}

function wrong(message: string): EngineError {
  return new EngineError("invalidArgument", message);
}

async function serve(options: RegistryServerOptions): Promise<void> {
  const server = await serveRegistry(options);
  options.log?.("info", `Serving ${options.root} on ${server.url}`);
  await new Promise<void>((resolve) => {
    process.once("SIGTERM", () => resolve());
    process.once("SIGINT", () => resolve());
  });
  await server.close();
  process.exit(0);
}
