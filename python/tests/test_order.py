"""The order, against the program that `format/SPEC.md` prints: its code is taken from the page."""

import os
import re
import unittest

from andromeda_shards.order import Firsts, Order, best_fit, given, permute, source_at

SPEC = os.path.join(os.path.dirname(__file__), "..", "..", "format", "SPEC.md")


def specified():
    with open(SPEC, encoding="utf-8") as file:
        blocks = re.findall(r"```python\n(.*?)```", file.read(), re.S)
    names = {}
    for block in blocks:
        if "xxh3_64_intdigest" in block:
            exec(block, names)
    return names


class Orders(unittest.TestCase):
    def setUp(self):
        self.spec = specified()
        if not self.spec:
            self.skipTest("the page has no program of the order yet")

    def test_a_permutation_is_the_specified_one(self):
        for n in (1, 2, 3, 5, 16, 17, 1000, 4097):
            key = 0x1234567890ABCDEF
            found = [permute(x, n, key) for x in range(n)]
            self.assertEqual(found, [self.spec["permute"](x, n, key) for x in range(n)])
            self.assertEqual(sorted(found), list(range(n)))

    def test_chunks_and_groups_are_taken_as_specified(self):
        root = "ab" * 32
        for sizes in ([5], [7, 3, 9, 1, 4], [4] * 40 + [1], list(range(1, 50))):
            listed = [sum(sizes[:i]) for i in range(len(sizes) + 1)]
            firsts = Firsts(listed[-1], listed=listed)
            for group, dataset in ((1, None), (4, "prose"), (16, None), (1 << 64, None)):
                order = Order(root, dataset, 77, group)
                n = listed[-1]
                for position in [*range(n), *range(5 * n, 5 * n + 9), 2 * n - 1]:
                    chunk, at = order.locate(position, firsts)
                    expected = self.spec["sequence"](position, sizes, root, 77, group, dataset)
                    self.assertEqual(listed[chunk] + at, expected)

    def test_pieces_are_packed_as_specified(self):
        state = 1
        for room in (1, 2, 9, 40):
            for many in (0, 1, 3, 200):
                lengths = []
                for _ in range(many):
                    state = (state * 6364136223846793005 + 1442695040888963407) % 2**64
                    lengths.append(1 + (state >> 33) % room)
                self.assertEqual(best_fit(lengths, room), self.spec["best_fit"](lengths, room))

    def test_sources_take_turns_as_specified(self):
        for weights in ([1], [1, 1], [3, 1, 2], [70, 20, 7, 3], [1 << 62, 1, 1 << 61]):
            counts = [0] * len(weights)
            for position in range(300):
                self.assertEqual(given(position, weights), counts)
                source, at = source_at(position, weights)
                self.assertEqual((source, at), tuple(self.spec["source"](position, weights)))
                self.assertEqual(at, counts[source])
                counts[source] += 1


if __name__ == "__main__":
    unittest.main()
