// The grammar of Go's text/template (text/template/parse/parse.go).
import { TemplateError } from "./errors.ts";
import { type Token, type TokenKind, tokenize } from "./lexer.ts";
import type { Call, Node, Operand, Pipeline, Position, Template } from "./nodes.ts";

const keywords = new Set([
  "if",
  "else",
  "end",
  "range",
  "with",
  "define",
  "template",
  "block",
  "break",
  "continue",
  "nil",
]);
const operandKinds: ReadonlySet<TokenKind> = new Set<TokenKind>([
  "string",
  "rawString",
  "character",
  "number",
  "field",
  "dot",
  "variable",
  "identifier",
  "leftParen",
]);

/** Parses a template. `functions` are the names it may call. Throws TemplateError in Go's words. */
export function parseTemplate(source: string, functions: ReadonlySet<string>): Template {
  return new Parser(tokenize(source), functions).template();
}

class Parser {
  readonly #tokens: readonly Token[];
  readonly #functions: ReadonlySet<string>;
  readonly #named = new Map<string, readonly Node[]>();
  #next = 0;
  #variables: string[] = ["$"];
  #rangeDepth = 0;

  constructor(tokens: readonly Token[], functions: ReadonlySet<string>) {
    this.#tokens = tokens;
    this.#functions = functions;
  }

  template(): Template {
    const body: Node[] = [];
    while (this.#peek().kind !== "end") {
      const item = this.#item();
      if (item === "end" || item === "else") throw this.#error(`unexpected {{${item}}}`);
      if (item) body.push(item);
    }
    return { body, named: this.#named };
  }

  /** A node, or the keyword that closes a list; undefined for a definition, which leaves nothing in its place. */
  #item(): Node | "end" | "else" | undefined {
    const token = this.#take();
    if (token.kind === "text") return { kind: "text", text: token.text };
    if (token.kind !== "open") throw this.#unexpected(token, "input");
    this.#skipSpace();
    const first = this.#peek();
    if (first.kind !== "identifier" || !keywords.has(first.text) || first.text === "nil") {
      return { kind: "output", pipeline: this.#pipeline("command", "close") };
    }
    this.#take();
    return this.#keyword(first);
  }

  #keyword(token: Token): Node | "end" | "else" | undefined {
    switch (token.text) {
      case "if":
      case "with":
      case "range":
        return this.#control(token.text, token);
      case "end":
        this.#expectClose("end");
        return "end";
      case "else":
        this.#skipSpace();
        if (this.#peek().kind === "identifier" && /^(if|with)$/.test(this.#peek().text)) return "else";
        this.#expectClose("else");
        return "else";
      case "define":
        this.#definition("define clause");
        return undefined;
      case "block": {
        const name = this.#templateName("block clause");
        this.#skipSpace();
        const pipeline = this.#pipeline("block clause", "close");
        const [body] = this.#fresh(() => this.#list());
        this.#named.set(name, body);
        return { kind: "template", name, pipeline, at: this.#position(token) };
      }
      case "template":
        return this.#invocation(token);
      default:
        if (this.#rangeDepth === 0) throw this.#error(`{{${token.text}}} outside {{range}}`);
        this.#expectClose(token.text);
        return { kind: token.text as "break" | "continue" };
    }
  }

  #control(kind: "if" | "with" | "range", token: Token): Node {
    const scope = this.#variables.length;
    const pipeline = this.#pipeline(kind, "close");
    if (kind === "range") this.#rangeDepth++;
    const [body, closing] = this.#list();
    if (kind === "range") this.#rangeDepth--;
    let otherwise: readonly Node[] = [];
    if (closing === "else") {
      const next = this.#peek();
      if (next.kind === "identifier" && (next.text === "if" || next.text === "with") && kind !== "range") {
        this.#take();
        otherwise = [this.#control(next.text, next)];
      } else {
        const [list, end] = this.#list();
        if (end === "else") throw this.#error("expected end; found {{else}}");
        otherwise = list;
      }
    }
    this.#variables.length = scope;
    return { kind, pipeline, body, otherwise, at: this.#position(token) };
  }

  #list(): [nodes: Node[], closing: "end" | "else"] {
    const nodes: Node[] = [];
    for (;;) {
      if (this.#peek().kind === "end") throw this.#error("unexpected EOF");
      const item = this.#item();
      if (item === "end" || item === "else") return [nodes, item];
      if (item) nodes.push(item);
    }
  }

  #definition(context: string): void {
    const name = this.#templateName(context);
    this.#expectClose(context);
    const [body, closing] = this.#fresh(() => this.#list());
    if (closing === "else") throw this.#error(`unexpected {{else}} in ${context}`);
    this.#named.set(name, body);
  }

  #invocation(token: Token): Node {
    const name = this.#templateName("template clause");
    const source = `{{template ${JSON.stringify(name)}}}`;
    const at = { line: token.line, column: (this.#tokens[this.#next - 1] ?? token).column, source };
    this.#skipSpace();
    const bare = this.#peek().kind === "close";
    if (bare) this.#take();
    const pipeline = bare ? undefined : this.#pipeline("template clause", "close");
    return { kind: "template", name, pipeline, at };
  }

  #templateName(context: string): string {
    this.#skipSpace();
    const token = this.#take();
    if (token.kind !== "string" && token.kind !== "rawString") throw this.#unexpected(token, context);
    return unquote(token.text);
  }

  /** Variables of outside are not seen inside a definition. */
  #fresh<T>(parse: () => T): T {
    const [variables, depth] = [this.#variables, this.#rangeDepth];
    this.#variables = ["$"];
    this.#rangeDepth = 0;
    const result = parse();
    this.#variables = variables;
    this.#rangeDepth = depth;
    return result;
  }

  #pipeline(context: string, until: "close" | "rightParen"): Pipeline {
    this.#skipSpace();
    const { variables, assigns } = this.#declarations(context);
    const calls: Call[] = [];
    for (;;) {
      this.#skipSpace();
      const token = this.#peek();
      if (token.kind === until) {
        this.#take();
        if (calls.length === 0) throw this.#error(`missing value for ${context}`);
        if (!assigns) this.#variables.push(...variables);
        return { variables, assigns, calls };
      }
      if (!operandKinds.has(token.kind)) throw this.#unexpected(token, context);
      const call = this.#call();
      const [head] = call.operands;
      if (calls.length > 0 && head && /^(literal|dot|nil)$/.test(head.kind)) {
        throw this.#error(`non executable command in pipeline stage ${calls.length + 1}`);
      }
      calls.push(call);
    }
  }

  #declarations(context: string): { variables: string[]; assigns: boolean } {
    const start = this.#next;
    const variables: string[] = [];
    while (this.#peek().kind === "variable") {
      variables.push(this.#take().text);
      this.#skipSpace();
      const token = this.#take();
      if (token.kind === "declare" || token.kind === "assign") {
        this.#skipSpace();
        return { variables, assigns: token.kind === "assign" };
      }
      if (token.kind !== "comma" || context !== "range" || variables.length > 1) break;
      this.#skipSpace();
    }
    this.#next = start;
    return { variables: [], assigns: false };
  }

  #call(): Call {
    const start = this.#peek();
    const operands: Operand[] = [];
    for (;;) {
      this.#skipSpace();
      const token = this.#peek();
      if (operandKinds.has(token.kind)) {
        operands.push(this.#operand());
        const after = this.#peek();
        if (/^(space|close|rightParen)$/.test(after.kind)) continue;
        if (after.kind !== "pipe") throw this.#unexpected(after, "operand");
      }
      if (this.#peek().kind === "pipe") this.#take();
      break;
    }
    if (operands.length === 0) throw this.#error("empty command");
    return {
      operands,
      at: { ...this.#position(start), source: operands.map((operand) => operand.at.source).join(" ") },
    };
  }

  #operand(): Operand {
    const base = this.#term();
    const names: string[] = [];
    // Go counts a chain's column from its second name on.
    const second = this.#position(this.#peek());
    while (this.#peek().kind === "field") names.push(this.#take().text.slice(1));
    if (names.length === 0) return base;
    const at = { ...second, source: `${base.at.source}.${names.join(".")}` };
    if (base.kind === "field") return { kind: "field", names: [...base.names, ...names], at };
    if (base.kind === "variable") return { ...base, names: [...base.names, ...names], at };
    if (base.kind === "literal" || base.kind === "nil" || base.kind === "dot") {
      throw this.#error(`unexpected . after term ${JSON.stringify(base.at.source)}`);
    }
    return { kind: "chain", base, names, at };
  }

  #term(): Operand {
    const token = this.#take();
    const at = this.#position(token);
    switch (token.kind) {
      case "dot":
        return { kind: "dot", at };
      case "field":
        return { kind: "field", names: [token.text.slice(1)], at };
      case "variable":
        if (!this.#variables.includes(token.text))
          throw this.#error(`undefined variable ${JSON.stringify(token.text)}`);
        return { kind: "variable", name: token.text, names: [], at };
      case "leftParen": {
        const pipeline = this.#pipeline("parenthesized pipeline", "rightParen");
        const source = `(${pipeline.calls.map((call) => call.at.source).join(" | ")})`;
        return { kind: "pipeline", pipeline, at: { ...at, source } };
      }
      case "identifier":
        return this.#word(token, at);
      default:
        return { kind: "literal", value: literalOf(token), at };
    }
  }

  #word(token: Token, at: Position): Operand {
    if (token.text === "nil") return { kind: "nil", at };
    if (token.text === "true" || token.text === "false") return { kind: "literal", value: token.text === "true", at };
    if (!this.#functions.has(token.text)) throw this.#error(`function ${JSON.stringify(token.text)} not defined`);
    return { kind: "call", name: token.text, at };
  }

  #peek(): Token {
    return this.#tokens[this.#next] ?? { kind: "end", text: "", line: 1, column: 0 };
  }

  #take(): Token {
    const token = this.#peek();
    this.#next++;
    return token;
  }

  #skipSpace(): void {
    while (this.#peek().kind === "space") this.#next++;
  }

  #expectClose(context: string): void {
    this.#skipSpace();
    const token = this.#take();
    if (token.kind !== "close") throw this.#unexpected(token, context);
  }

  #position(token: Token): Position {
    return { line: token.line, column: token.column, source: token.text };
  }

  #unexpected(token: Token, context: string): TemplateError {
    if (token.kind === "end") return this.#error("unexpected EOF");
    const keyword = token.kind === "identifier" && keywords.has(token.text);
    const angled = keyword || token.kind === "dot";
    return this.#error(`unexpected ${angled ? `<${token.text}>` : JSON.stringify(token.text)} in ${context}`);
  }

  #error(message: string): TemplateError {
    const token = this.#tokens[Math.max(0, Math.min(this.#next, this.#tokens.length) - 1)];
    return new TemplateError(`template: :${token?.line ?? 1}: ${message}`);
  }
}

function literalOf(token: Token): string | number {
  if (token.kind === "number") {
    const text = token.text.replaceAll("_", "").replace(/^\+/, "");
    return text.startsWith("-") ? -Number(text.slice(1)) : Number(text);
  }
  if (token.kind === "character")
    return unquote(`"${token.text.slice(1, -1).replace(/^"$/, '\\"')}"`).codePointAt(0) ?? 0;
  return unquote(token.text);
}

/** Go's strconv.Unquote for both kinds of string. */
function unquote(text: string): string {
  if (text.startsWith("`")) return text.slice(1, -1);
  const escapes: Readonly<Record<string, string>> = { n: "\n", t: "\t", r: "\r", a: "\x07", b: "\b", f: "\f", v: "\v" };
  return text.slice(1, -1).replace(/\\(x[0-9a-f]{2}|u[0-9a-f]{4}|U[0-9a-f]{8}|[0-7]{3}|.)/gi, (_, escape: string) => {
    if (/^[xuU]./.test(escape)) return String.fromCodePoint(parseInt(escape.slice(1), 16));
    if (/^[0-7]{3}$/.test(escape)) return String.fromCodePoint(parseInt(escape, 8));
    return escapes[escape] ?? escape;
  });
}
