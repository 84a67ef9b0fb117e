// `bun scripts/make-debian-base.ts [REFERENCE]`: a Debian base image, made with debootstrap and `vitrine import`, that installs its
// packages from where this machine installs its own.
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { requirePrograms } from "./require-programs.ts";

/** A line of this machine's package sources, as apt understands it. */
interface PackageSource {
  readonly uri: string;
  readonly suite: string;
  readonly component: string;
}

export interface DebianBaseOptions {
  readonly reference: string;
  /** Debian's release, such as `bookworm`. */
  readonly suite: string;
  /** How the command line of vitrine begins. */
  readonly vitrine: readonly string[];
  readonly environment?: Readonly<Record<string, string>>;
}

const searchPath = `${process.env.PATH ?? ""}:/usr/sbin:/sbin`;

/** Makes the image. Throws with the words of the program that failed; nothing is left in the temporary folder. */
export async function makeDebianBase(options: DebianBaseOptions): Promise<void> {
  if (!Bun.which("apt-get"))
    throw new Error("A Debian base is made on Debian: its mirror is read from apt's configuration.");
  await requirePrograms("debian-base");
  const folder = mkdtempSync(join(tmpdir(), "vitrine-debian-"));
  const root = join(folder, "root");
  try {
    const sources = sourcesOf(await packageSources(), options.suite);
    await bootstrap(root, { suite: options.suite, mirror: sources[0].uri });
    await configureApt(root, sources);
    await importRoot(root, options);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** What apt itself makes of its configuration, whichever of its file formats it is in. */
async function packageSources(): Promise<PackageSource[]> {
  const format = "$(REPO_URI) $(RELEASE) $(COMPONENT)";
  const lines = await outputOf(["apt-get", "indextargets", "--format", format, "Created-By: Packages"]);
  return lines.split("\n").flatMap((line) => {
    const [uri, suite, component] = line.split(" ");
    return uri && suite && component ? [{ uri, suite, component }] : [];
  });
}

/** What is configured for that release; on a machine of another release, that release from the machine's own mirror. */
function sourcesOf(configured: readonly PackageSource[], suite: string): [PackageSource, ...PackageSource[]] {
  const own = configured.filter((source) => source.suite === suite || source.suite.startsWith(`${suite}-`));
  const [first, ...rest] = own.toSorted((left, right) => left.suite.length - right.suite.length);
  if (first) return [first, ...rest];
  const mirror = configured.find((source) => source.component === "main");
  if (!mirror) throw new Error(`apt's configuration on this machine has no source with Debian's "main".`);
  return [{ uri: mirror.uri, suite, component: "main" }];
}

/** In a mount namespace of its own: whatever happens, no mount is left. */
async function bootstrap(root: string, { suite, mirror }: { suite: string; mirror: string }): Promise<void> {
  const proxy = await aptSetting("Acquire::http::Proxy");
  const environment = proxy ? { http_proxy: proxy } : {};
  const words = ["debootstrap", "--variant=minbase", suite, root, mirror];
  await outputOf(["unshare", "--mount", ...words], environment);
}

/** The same releases from the same places, through the same proxy. Names and passwords for them stay out of the image. */
async function configureApt(root: string, sources: readonly PackageSource[]): Promise<void> {
  const folder = join(root, "etc/apt");
  const lines = sources.map(({ uri, suite, component }) => `deb ${uri} ${suite} ${component}\n`);
  writeFileSync(join(folder, "sources.list"), lines.join(""));
  const settings: string[] = [];
  for (const name of ["Acquire::http::Proxy", "Acquire::https::Proxy", "Acquire::Check-Valid-Until"]) {
    const value = await aptSetting(name);
    if (value) settings.push(`${name} ${JSON.stringify(value)};\n`);
  }
  mkdirSync(join(folder, "apt.conf.d"), { recursive: true });
  // No translations, and nothing kept: an image is not a desk.
  const lean = ['Acquire::Languages "none";\n', 'APT::Keep-Downloaded-Packages "false";\n'];
  writeFileSync(join(folder, "apt.conf.d/90base"), [...settings, ...lean].join(""));
}

async function aptSetting(name: string): Promise<string> {
  return (await outputOf(["apt-config", "shell", "VALUE", name])).replace(/^VALUE='(.*)'\n?$/s, "$1");
}

async function importRoot(root: string, { vitrine, reference, environment }: DebianBaseOptions): Promise<void> {
  // What debootstrap downloaded is installed: it would only make the layer larger.
  const excluded = ["./var/cache/apt/archives/*.deb", "./var/lib/apt/lists/*"].map((path) => `--exclude=${path}`);
  const tar = Bun.spawn(["tar", "-C", root, "--numeric-owner", "--xattrs", ...excluded, "-c", "."], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  const run = Bun.spawn([...vitrine, "import", "-", reference], {
    env: { ...process.env, ...environment },
    stdio: [tar.stdout, "pipe", "pipe"],
  });
  const [words, errors] = await Promise.all([new Response(run.stdout).text(), new Response(run.stderr).text()]);
  const [tarStatus, status] = await Promise.all([tar.exited, run.exited]);
  if (tarStatus !== 0 || status !== 0) throw new Error(`Cannot import ${reference}:\n${words}${errors}`);
}

async function outputOf(command: readonly string[], environment: Record<string, string> = {}): Promise<string> {
  const run = Bun.spawn([...command], {
    env: { ...process.env, PATH: searchPath, ...environment },
    stdio: ["ignore", "pipe", "pipe"],
  });
  const [output, errors, status] = await Promise.all([
    new Response(run.stdout).text(),
    new Response(run.stderr).text(),
    run.exited,
  ]);
  if (status !== 0) throw new Error(`"${command.join(" ")}" ended with ${status}:\n${output.slice(-2000)}${errors}`);
  return output;
}

if (import.meta.main) {
  const reference = process.argv[2] ?? "vitrine/debian";
  const vitrine = [join(import.meta.dir, "..", "dist", "vitrine")];
  console.log(`Making ${reference} with debootstrap; this takes about a minute.`);
  await makeDebianBase({ reference, suite: "bookworm", vitrine });
}
