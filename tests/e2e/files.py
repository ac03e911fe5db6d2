"""What curl gets and gives through an HTTP entry."""

from nodes import LARGE, PLACE, check, curl


def check_curl(tunnel):
    www = f"http://127.0.0.1:{tunnel.www}"
    for version in ["--http1.0", "--http1.1", "--http2-prior-knowledge"]:
        said = curl(version, f"{www}/echo", "-H", "Host: www.example.com")
        check(f"curl {version}", said.startswith("GET www.example.com 127.0.0.1 "), said)
        assets = [f"{www}/asset-{n}" for n in range(50)]
        # Without `--parallel-immediate` curl 7.88 breaks HTTP/2 by itself, whatever it speaks to.
        said = curl(version, "--parallel", "--parallel-immediate", *assets)
        check(f"50 assets, curl {version} --parallel", said.count("asset ") == 50 * 100, said[:500])
        got = PLACE / "got"
        curl(version, "--output", got, f"{www}/large")
        same = got.read_bytes() == (PLACE / "www/large").read_bytes()
        check(f"64 MiB down, curl {version}", same)
        said = curl(version, "--data-binary", f"@{PLACE}/www/large", f"{www}/take")
        check(f"64 MiB up, curl {version}", said.strip() == str(LARGE), said[:500])
    said = curl("--head", f"{www}/large")
    check("HEAD has the length and no body", f"content-length: {LARGE}" in said.lower(), said)
    said = curl("--include", f"{www}/nowhere")
    check("404 is the upstream's", "404 Not Found" in said and "x-adit-reason" not in said, said)
