# SPDX-License-Identifier: Apache-2.0
"""Promises of the strict config loader."""
from dataclasses import dataclass, field

from crossview_ros.config import dump_yaml, from_dict, load_config, load_yaml, to_dict
from crossview_ros.errors import ConfigError
import pytest


@dataclass(frozen=True)
class Inner:
    lr: float = 1e-3
    size_hw: tuple[int, int] = (4, 6)


@dataclass(frozen=True)
class Outer:
    steps: int
    name: str = 'a'
    inner: Inner = field(default_factory=Inner)
    heads: dict[str, Inner] = field(default_factory=dict)
    other: Inner | None = None


def test_written_yaml_reads_back_equal(tmp_path):
    config = Outer(3, 'b', Inner(2.0, (1, 2)), {'x': Inner(0.5)}, Inner())
    (tmp_path / 'c.yaml').write_text(dump_yaml(to_dict(config)), encoding='utf-8')
    assert load_config(Outer, tmp_path / 'c.yaml') == config


@pytest.mark.parametrize('values, message', [
    ({'steps': 1, 'inner': {'learning_rate': 1}}, "unknown key 'inner.learning_rate'"),
    ({'steps': 1, 'nme': 'x'}, "unknown key 'nme'; did you mean 'name'"),
    ({'steps': 1.5}, "'steps': .*integer.*1.5"),
    ({}, "'steps'.*required"),
    ({'steps': 1, 'inner': 3}, "'inner'"),
    ({'steps': 1, 'other': {'lrr': 3}}, "did you mean 'other.lr'"),
    ({'steps': 1, 'heads': {'x': {'lrr': 3}}}, "did you mean 'heads.x.lr'"),
])
def test_bad_values_name_the_key_and_what_came(values, message):
    with pytest.raises(ConfigError, match=message):
        from_dict(Outer, values, 'file.yaml')


def test_overrides_reach_nested_settings_and_keep_the_rest(tmp_path):
    (tmp_path / 'c.yaml').write_text('steps: 5\ninner: {lr: 0.1}\n', encoding='utf-8')
    config = load_config(Outer, tmp_path / 'c.yaml',
                         ['inner.size_hw=[8, 9]', 'name=x', 'inner.lr=1e-4'])
    assert config == Outer(5, 'x', Inner(1e-4, (8, 9)))


@pytest.mark.parametrize('override, message', [
    ('steps', 'expects key=value'), ('steps.a=1', "'steps' is a value"),
    ('inner.nothing=1', "unknown key 'inner.nothing'")])
def test_bad_overrides_are_refused(tmp_path, override, message):
    (tmp_path / 'c.yaml').write_text('steps: 5\n', encoding='utf-8')
    with pytest.raises(ConfigError, match=message):
        load_config(Outer, tmp_path / 'c.yaml', [override])


@pytest.mark.parametrize('text, message', [
    ('a: [1', 'not valid YAML'), ('- 1', 'expected a mapping'), (None, 'cannot be read')])
def test_unusable_files_are_named(tmp_path, text, message):
    path = tmp_path / 'c.yaml'
    if text is not None:
        path.write_text(text, encoding='utf-8')
    with pytest.raises(ConfigError, match=f'c.yaml.*{message}'):
        load_yaml(path)
