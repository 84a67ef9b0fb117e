import { createHash } from "node:crypto";

/** A licence as SPDX writes it, and what the words that SPDX does not know stand for. */
export interface LicenceExpression {
  readonly expression: string;
  /** `LicenseRef-…` → the words that were found. */
  readonly extracted: ReadonlyMap<string, string>;
}

const none = "NOASSERTION";
const maxTerms = 64;
const maxReferenceCharacters = 60;

/** Identifiers of the SPDX licence list by what packages call them, in lower case and without punctuation. */
const known: ReadonlyMap<string, string> = new Map(
  [
    "0BSD",
    "AFL-2.1",
    "AGPL-3.0-only",
    "AGPL-3.0-or-later",
    "Apache-2.0",
    "Artistic-1.0",
    "Artistic-2.0",
    "BSD-1-Clause",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSD-4-Clause",
    "BSL-1.0",
    "bzip2-1.0.6",
    "CC-BY-3.0",
    "CC-BY-4.0",
    "CC0-1.0",
    "curl",
    "EPL-1.0",
    "EPL-2.0",
    "FSFAP",
    "FSFUL",
    "FSFULLR",
    "GFDL-1.3-only",
    "GFDL-1.3-or-later",
    "GPL-1.0-only",
    "GPL-1.0-or-later",
    "GPL-2.0-only",
    "GPL-2.0-or-later",
    "GPL-3.0-only",
    "GPL-3.0-or-later",
    "HPND",
    "ICU",
    "IJG",
    "ISC",
    "LGPL-2.0-only",
    "LGPL-2.0-or-later",
    "LGPL-2.1-only",
    "LGPL-2.1-or-later",
    "LGPL-3.0-only",
    "LGPL-3.0-or-later",
    "libtiff",
    "MIT",
    "MIT-0",
    "MPL-1.1",
    "MPL-2.0",
    "NCSA",
    "OFL-1.1",
    "OpenSSL",
    "PostgreSQL",
    "PSF-2.0",
    "Python-2.0",
    "Ruby",
    "SGI-B-2.0",
    "Sleepycat",
    "SSH-OpenSSH",
    "TCL",
    "Unicode-3.0",
    "Unlicense",
    "Vim",
    "W3C",
    "WTFPL",
    "X11",
    "Zlib",
    "ZPL-2.1",
  ].map((id) => [plain(id), id]),
);
const otherNames: ReadonlyMap<string, string> = new Map(
  Object.entries({
    "apache 2": "Apache-2.0",
    apache2: "Apache-2.0",
    "apache license 2.0": "Apache-2.0",
    "apache software license": "Apache-2.0",
    "apache license, version 2.0": "Apache-2.0",
    "asl 2.0": "Apache-2.0",
    "bsd license": "BSD-3-Clause",
    expat: "MIT",
    "mit license": "MIT",
    "the mit license": "MIT",
    "isc license": "ISC",
    psf: "PSF-2.0",
    "python software foundation license": "PSF-2.0",
    "mozilla public license 2.0 (mpl 2.0)": "MPL-2.0",
    "mplv2.0": "MPL-2.0",
    boost: "BSL-1.0",
    "zlib/libpng": "Zlib",
    openldap: "OLDAP-2.8",
    "public-domain": "LicenseRef-public-domain",
    "public domain": "LicenseRef-public-domain",
  }).map(([name, id]) => [plain(name), id]),
);

/**
 * An SPDX expression (specification 2.3, annex D) of what a package says of its licence. Debian's `GPL-2+`, rpm's `GPLv2+`, apk's and
 * npm's own expressions become identifiers of the list; other words become a `LicenseRef-` that keeps them.
 */
export function licenceExpression(text: string | undefined): LicenceExpression {
  const extracted = new Map<string, string>();
  if (text === undefined) return { expression: none, extracted };
  const tokens = text
    .replaceAll(/[()]/g, " $& ")
    .split(/\s*(?:,|;|\s(?=(?:and|or|with)\s)|(?<=\s(?:and|or|with))\s|(?=[()])|(?<=[()]))\s*/i)
    .map((token) => token.trim())
    .filter((token) => token !== "");
  if (tokens.length > maxTerms) return reference(text, extracted);
  const parts: string[] = [];
  let depth = 0;
  for (const token of tokens) {
    const operator = /^(and|or|with)$/i.test(token) ? token.toUpperCase() : undefined;
    const last = parts.at(-1);
    const afterTerm = last !== undefined && last !== "(" && !isOperator(last);
    // The list of exceptions is not that of licences, and a reference cannot stand in its place.
    if (last === "WITH" && !/^[A-Za-z0-9.-]+-exception[A-Za-z0-9.-]*$/.test(token)) return reference(text, extracted);
    if (token === "(" || (operator === undefined && token !== ")")) {
      if (afterTerm) parts.push("AND");
      parts.push(token === "(" ? token : term(token, { extracted, isException: last === "WITH" }));
      if (token === "(") depth++;
    } else if (!afterTerm || (token === ")" && depth-- === 0)) return reference(text, extracted);
    else parts.push(operator ?? token);
  }
  if (depth !== 0 || parts.length === 0 || isOperator(parts.at(-1) ?? "")) return reference(text, extracted);
  return { expression: parts.join(" ").replaceAll("( ", "(").replaceAll(" )", ")"), extracted };
}

function isOperator(part: string): boolean {
  return part === "AND" || part === "OR" || part === "WITH";
}

function reference(text: string, extracted: Map<string, string>): LicenceExpression {
  extracted.clear();
  return { expression: term(text, { extracted, isException: false }), extracted };
}

function term(
  words: string,
  { extracted, isException }: { extracted: Map<string, string>; isException: boolean },
): string {
  if (isException) return words;
  const id = known.get(plain(words)) ?? otherNames.get(plain(words)) ?? family(words);
  if (id !== undefined && !id.startsWith("LicenseRef-")) return id;
  const name = id ?? `LicenseRef-${referencePart(words)}`;
  extracted.set(name, words);
  return name;
}

/** What an id may hold; long words get a mark that tells them apart. */
function referencePart(words: string): string {
  const part = words.replaceAll(/[^A-Za-z0-9.]+/g, "-").replaceAll(/^-+|-+$/g, "");
  if (part.length <= maxReferenceCharacters && part !== "") return part;
  return `${part.slice(0, maxReferenceCharacters)}-${createHash("sha256").update(words).digest("hex").slice(0, 8)}`;
}

/** The GNU licences in their many spellings: `GPL-2`, `GPL-2+`, `GPLv2+`, `LGPL-2.1`, `GPL2`. */
function family(words: string): string | undefined {
  const [, name = "", version, later] =
    /^([AL]?GPL|GFDL)-?\s?v?(\d(?:\.\d)?)?(?:\.0)?(\+|-or-later| or later)?(?:-only)?$/i.exec(words) ?? [];
  if (version === undefined) return undefined;
  const number = version.includes(".") ? version : `${version}.0`;
  const id = `${name.toUpperCase()}-${number}-${later === undefined ? "only" : "or-later"}`;
  return known.get(plain(id));
}

function plain(name: string): string {
  return name.toLowerCase().replaceAll(/[\s_]+/g, "-");
}
