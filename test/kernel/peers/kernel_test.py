"""Debian's jupyter_kernel_test with every sample set filled. JUPYTER_PATH points at an installed kernelspec."""
import unittest

import jupyter_kernel_test


class GradbookTests(jupyter_kernel_test.KernelTests):
    kernel_name = "gradbook"
    language_name = "typescript"
    file_extension = ".ts"

    code_hello_world = "console.log('hello, world')"
    code_stderr = "console.error('oops')"
    code_generate_error = "throw new Error('as asked')"
    code_page_something = "%doc gradcheck"
    code_clear_output = "clearOutput()"
    code_inspect_sample = "gradcheck"
    completion_samples = [
        {"text": "gradch", "matches": {"gradcheck"}},
        {"text": "Math.hyp", "matches": {"hypot"}},
    ]
    complete_code_samples = ["1", "console.log('x')", "function f(x: number) {\n  return x * 2;\n}\n", "await Promise.resolve(1)"]
    incomplete_code_samples = ["console.log(", "function f(x: number) {", "`open", "class A {\n  b() {"]
    invalid_code_samples = ["const = 3", "}", "let 1x"]
    code_execute_result = [
        {"code": "1 + 2 + 3", "result": "6"},
        {"code": "[1, 2].map((n) => n * n)", "result": "[ 1, 4 ]"},
        {"code": "({ a: 'b' })", "result": "{ a: 'b' }"},
    ]
    code_display_data = [
        {"code": "display(html`<b>x</b>`)", "mime": "text/html"},
        {"code": "display(md`# x`)", "mime": "text/markdown"},
        {"code": "display(svg`<svg/>`)", "mime": "image/svg+xml"},
    ]
    code_history_pattern = "1 + 2*"
    supported_history_operations = ("tail", "range", "search")


if __name__ == "__main__":
    unittest.main()
