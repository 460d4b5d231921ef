/* interrupt.exe FILE PROGRAM ARGUMENT...: starts a program, waits until it has made FILE, sends it Ctrl-C, and prints
   the status that it ends with, or "runs" if it still does five seconds later. The console is its own: nobody else is
   interrupted. */
#include <stdio.h>
#include <string.h>
#include <windows.h>

/* The event goes to all of the console, which are the program and this. */
static BOOL WINAPI ignore(DWORD event) { return event == CTRL_C_EVENT; }

static const char *after_words(const char *line, int words) {
  while (words-- > 0) {
    line += strcspn(line, " ");
    line += strspn(line, " ");
  }
  return line;
}

int main(int count, char **arguments) {
  STARTUPINFOA start = {.cb = sizeof start};
  PROCESS_INFORMATION program;
  DWORD status, tries;
  if (count < 3) return 2;
  start.dwFlags = STARTF_USESTDHANDLES;
  start.hStdInput = GetStdHandle(STD_INPUT_HANDLE);
  start.hStdOutput = GetStdHandle(STD_OUTPUT_HANDLE);
  start.hStdError = GetStdHandle(STD_ERROR_HANDLE);
  /* A new console takes their places. */
  FreeConsole();
  if (!AllocConsole()) return printf("no console: %lu\n", GetLastError()), 2;
  SetConsoleCtrlHandler(ignore, TRUE);
  if (!CreateProcessA(NULL, (char *)after_words(GetCommandLineA(), 2), NULL, NULL, TRUE, 0, NULL, NULL, &start, &program))
    return printf("no program: %lu\n", GetLastError()), 2;
  for (tries = 0; tries < 300 && GetFileAttributesA(arguments[1]) == INVALID_FILE_ATTRIBUTES; tries++) Sleep(100);
  if (tries == 300) printf("no file, ");
  Sleep(300);
  if (!GenerateConsoleCtrlEvent(CTRL_C_EVENT, 0)) printf("not sent: %lu, ", GetLastError());
  if (WaitForSingleObject(program.hProcess, 5000) != WAIT_OBJECT_0) {
    TerminateProcess(program.hProcess, 3);
    return printf("runs\n"), 1;
  }
  GetExitCodeProcess(program.hProcess, &status);
  printf("0x%lx\n", status);
  return 0;
}
