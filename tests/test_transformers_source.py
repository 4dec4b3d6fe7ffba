# Copyright 2026 The AudioSlots-HF authors. All rights reserved.
#
# Licensed under the Apache License, Version 2.0 (the "License");
# you may not use this file except in compliance with the License.
# You may obtain a copy of the License at
#
#     http://www.apache.org/licenses/LICENSE-2.0
#
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS,
# WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied.
# See the License for the specific language governing permissions and
# limitations under the License.
import unittest

import pytest

from tests.transformers_source import guard_tests


def make_case(skipped: dict[str, tuple[str, ...]]) -> unittest.TestCase:
    """A case with a test that passes, one that skips itself and one that fails in a part, under a table."""

    class Case(unittest.TestCase):
        def test_one(self):
            self.assertTrue(True)

        def test_two(self):
            with self.subTest("a part"):
                self.skipTest("transformers' reason")

        def test_three(self):
            with self.subTest("a part"):
                self.fail("a fault")

    guard_tests(Case, skipped)
    return Case()


def test_a_test_that_skips_itself_is_skipped_for_the_reason_of_the_table():
    case = make_case({"our reason": ("test_tw*",)})
    with pytest.raises(unittest.SkipTest, match="our reason"):
        case.test_two()
    case.test_one()


def test_a_test_that_skips_itself_without_a_reason_fails():
    with pytest.raises(AssertionError, match="transformers' reason.*table"):
        make_case({}).test_two()


def test_an_entry_fails_whose_test_is_not_skipped():
    with pytest.raises(AssertionError, match="remove it from the table"):
        make_case({"our reason": ("test_one",)}).test_one()


def test_a_fault_in_a_part_fails_whether_or_not_it_has_an_entry():
    for skipped in ({}, {"our reason": ("test_three",)}):
        with pytest.raises(AssertionError, match="a fault"):
            make_case(skipped).test_three()
