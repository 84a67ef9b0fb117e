// A program for tests to kill: pulls and removes an image under the folder given, again and again.
import { defaultRegistrySettings } from "../../src/registry/index.ts";
import { collectMessages, openImages } from "./image-fixture.ts";

const [, , folder = "", name = ""] = process.argv;
const { images } = openImages(folder);
process.stdout.write("ready\n");
for (;;) {
  await collectMessages(images.pull(name, { settings: defaultRegistrySettings }));
  await images.remove(name, { force: true, noPrune: false, usedBy: () => [] });
}
