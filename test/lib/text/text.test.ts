import { bytePairs, characters, texts } from "../../../lib/text";

test("the shipped texts are ASCII, start as they should, and share one small vocabulary", () => {
  expect(texts.austen.startsWith("It is a truth universally acknowledged, that a single man in possession of a good fortune")).toBe(true);
  expect(texts.constitution.startsWith("We the People of the United States, in Order to form a more perfect Union")).toBe(true);
  expect(texts.austen.length).toBeGreaterThan(200_000);
  for (const text of Object.values(texts)) expect(text).toMatch(/^[\n\x20-\x7e]+$/);
  expect(characters(texts.austen, texts.constitution).size).toBe(74);
});

test("characters: there and back; what is unknown is named", () => {
  const t = characters("hello");
  expect(t.vocabulary).toEqual(["e", "h", "l", "o"]);
  expect([...t.encode("hole")]).toEqual([1, 3, 2, 0]);
  expect(t.decode(t.encode("hello"))).toBe("hello");
  expect(() => t.encode("help")).toThrow('characters: "p" is not in the vocabulary of 4');
  expect(() => t.decode([4])).toThrow("token 4, expected a whole number from 0 to 3");
});

test("byte pairs: GPT-2's numbers, there and back", () => {
  const t = bytePairs();
  expect([...t.encode("Hello world")]).toEqual([15496, 995]);
  const part = texts.austen.slice(0, 2000);
  const ids = t.encode(part);
  expect(t.decode(ids)).toBe(part);
  expect(ids.length).toBeLessThan(part.length / 3);
  expect(Math.max(...ids)).toBeLessThan(t.size);
});
