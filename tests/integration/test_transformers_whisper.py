"""Whisper of transformers, made tiny with random weights and saved as `save_pretrained` does: what it gives is read.

A process of its own: what torchvision declares to torch stays for the whole process.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

SCRIPT = """
import json, sys
from mmsearch.torchvision_guard import guard_torchvision
guard_torchvision()
import numpy as np, torch
from tokenizers.pre_tokenizers import ByteLevel
from transformers import (
    WhisperConfig, WhisperFeatureExtractor, WhisperForConditionalGeneration, WhisperProcessor, WhisperTokenizer,
)

torch.manual_seed(0)
marks = ["endoftext", "startoftranscript", "en", "zh", "translate", "transcribe", "startofprev", "notimestamps"]
words = WhisperTokenizer(vocab={c: i for i, c in enumerate(sorted(ByteLevel.alphabet()))}, merges=[])
words.add_special_tokens({"additional_special_tokens": [f"<|{mark}|>" for mark in marks]})
words.add_tokens([f"<|{0.02 * n:.2f}|>" for n in range(1501)])
ids = {mark: words.convert_tokens_to_ids(f"<|{mark}|>") for mark in marks}
end = ids["endoftext"]
model = WhisperForConditionalGeneration(WhisperConfig(
    vocab_size=len(words), d_model=16, encoder_layers=1, decoder_layers=1, encoder_attention_heads=2,
    decoder_attention_heads=2, encoder_ffn_dim=32, decoder_ffn_dim=32, max_target_positions=64, pad_token_id=end,
    bos_token_id=end, eos_token_id=end, decoder_start_token_id=ids["startoftranscript"],
))
settings = dict(
    is_multilingual=True, lang_to_id={"<|en|>": ids["en"], "<|zh|>": ids["zh"]}, suppress_tokens=[],
    task_to_id={"transcribe": ids["transcribe"], "translate": ids["translate"]}, begin_suppress_tokens=[],
    no_timestamps_token_id=ids["notimestamps"], prev_sot_token_id=ids["startofprev"], max_length=30,
    max_initial_timestamp_index=50, _from_model_config=False,
)
for name, value in settings.items():
    setattr(model.generation_config, name, value)
model.save_pretrained(sys.argv[1])
WhisperProcessor(WhisperFeatureExtractor(), words).save_pretrained(sys.argv[1])

from mmsearch.errors import ConfigError
from mmsearch.recognition.speech import TransformersWhisperSettings
said = []
for language, seconds in ((None, 2), ("zh", 35)):
    recogniser = TransformersWhisperSettings(model=sys.argv[1], language=language).build()
    sound = (np.sin(np.arange(16_000 * seconds) / 9) / 3).astype(np.float32)
    said.append([(s.start_s, s.end_s, s.text) for s in recogniser.transcribe(sound)])
try:
    TransformersWhisperSettings(model=sys.argv[2]).build().transcribe(sound)
except ConfigError as error:
    said.append(str(error))
print(json.dumps(said))
"""


def test_segments_with_times_and_a_folder_without_a_model(tmp_path):
    pytest.importorskip("transformers")
    (tmp_path / "empty").mkdir()
    command = [sys.executable, "-W", "ignore", "-c", SCRIPT, str(tmp_path / "tiny"), str(tmp_path / "empty")]
    ran = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"HF_HUB_OFFLINE": "1"})
    assert ran.returncode == 0, ran.stderr
    short, long, problem = json.loads(ran.stdout.splitlines()[-1])
    assert short
    assert [start for start, _, _ in long] == sorted(start for start, _, _ in long)
    assert all(0 <= start <= end for start, end, _ in [*short, *long])
    assert max(start for start, _, _ in long) > 30 > max(start for start, _, _ in short)
    assert "cannot be loaded" in problem
    assert "give its folder" in problem
