"""Writes token files with the program whose files they are: `write.py datatrove FOLDER < documents`, a JSON object a line with `ids` and
`trained`. The files are `FOLDER/x.ds` and those beside it. Exit code 3 says that the program is not installed.
"""

import json
import os
import sys


def datatrove(folder, documents):
    import numpy as np
    from datatrove.pipeline.tokens.tokenizer import TokenizedFile

    file = TokenizedFile(
        folder, "x.ds", save_loss_metadata=True, tokenizer_name_or_path="x", save_final_metadata=True, token_size=2
    )
    for document in documents:
        file.write(document["ids"], np.array(document["trained"], bool))
    file.close()


if __name__ == "__main__":
    try:
        {"datatrove": datatrove}[sys.argv[1]](os.path.abspath(sys.argv[2]), [json.loads(line) for line in sys.stdin])
    except ModuleNotFoundError as error:
        print(error, file=sys.stderr)
        sys.exit(3)
